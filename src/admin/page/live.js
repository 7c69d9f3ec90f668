// The way to the gateway. It sends an event a second; where events do not arrive, because a proxy in between keeps them back,
// it is asked every two seconds. What is lost is tried again, later and later.

/** Without a first event for so long, this way is closed to events; they are tried again after AGAIN. */
const FIRST = 4_000;
const AGAIN = 60_000;
/** Between two events at most; longer, and the connection is dead though nobody has said so. */
const SILENCE = 6_000;
const POLL = 2_000;
const ANSWER = 5_000;
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000, 15_000];

/** Tells `arrived(status)` for ever, and `changed(state)`: live, polling, lost or denied. */
export function follow({ arrived, changed }) {
  let state = 'start';
  let failures = 0;
  /** Events did not arrive, and are not waited for again before this. */
  let deaf = false;
  let eventsFrom = 0;

  function become(next) {
    if (next === state) return;
    state = next;
    changed(next);
  }

  function take(status, next) {
    failures = 0;
    become(next);
    arrived(status);
  }

  function listen() {
    const source = new EventSource('/api/v1/events');
    let heard = false;
    let watchdog = 0;
    const leave = () => {
      clearTimeout(watchdog);
      source.close();
      deaf = !heard;
      if (deaf) eventsFrom = performance.now() + AGAIN;
      ask();
    };
    const watch = (time) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(leave, time);
    };
    source.addEventListener('status', (event) => {
      [heard, deaf] = [true, false];
      watch(SILENCE);
      take(JSON.parse(event.data), 'live');
    });
    // It would try again by itself, every few seconds for ever.
    source.addEventListener('error', leave);
    watch(FIRST);
  }

  async function ask() {
    const { status, problem } = await question();
    if (status) {
      take(status, deaf ? 'polling' : 'live');
      return performance.now() >= eventsFrom ? listen() : setTimeout(ask, POLL);
    }
    become(problem);
    const pause = PAUSES[Math.min(failures, PAUSES.length - 1)];
    failures += 1;
    return setTimeout(ask, pause * (0.8 + 0.4 * Math.random()));
  }

  // The first figures at once, and then events.
  ask();
}

/** The status, or why there is none. */
async function question() {
  try {
    const answer = await fetch('/api/v1/status', { signal: AbortSignal.timeout(ANSWER) });
    if (answer.ok) return { status: await answer.json() };
    return { problem: answer.status === 401 ? 'denied' : 'lost' };
  } catch {
    return { problem: 'lost' };
  }
}

/** What the gateway has at this path, or `null`. */
export async function fetched(path) {
  try {
    const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
