// Shows /api/v1/status every two seconds. Everything reaches the page through textContent: samples are strangers' bytes.
'use strict';

const PERIOD = 2000;
const element = (id) => document.getElementById(id);
const count = (n) => (n === null || n === undefined ? '–' : n.toLocaleString('en'));

function bytes(n) {
  if (n === null || n === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 ? n : n.toFixed(1)} ${units[unit]}`;
}

function span(seconds) {
  const [d, h, m] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min ${seconds % 60} s` : `${seconds} s`;
}

// A cell is a text, or [text, class].
function cell(tag, content) {
  const node = document.createElement(tag);
  const [text, kind] = Array.isArray(content) ? content : [content, ''];
  node.textContent = text;
  node.className = kind;
  return node;
}

function fill(id, rows, head) {
  const lines = [];
  if (head) {
    const line = document.createElement('tr');
    line.append(...head.map((content) => cell('th', content)));
    lines.push(line);
  }
  for (const row of rows) {
    const line = document.createElement('tr');
    line.append(...row.map((content, i) => cell(i === 0 && !head ? 'th' : 'td', content)));
    lines.push(line);
  }
  element(id).replaceChildren(...lines);
}

const number = (text) => [text, 'number'];
const words = (label) => label.replaceAll('_', ' ');

function counters(id, map, none) {
  const rows = Object.entries(map).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  fill(id, rows.length ? rows.map(([label, n]) => [words(label), number(count(n))]) : [[none]]);
}

function traffic(t) {
  const rows = [
    ['connections open', number(count(t.connections.open))],
    ['connections since the start', number(count(t.connections.total))],
    ['requests since the start', number(count(t.requests))],
    ['tunnels open', number(count(t.tunnels))],
    ['connections to origins', number(`${count(t.upstreams.open)} (${count(t.upstreams.idle)} idle)`)],
    ['from and to clients', number(`${bytes(t.bytes.from_client)} / ${bytes(t.bytes.to_client)}`)],
    ['to and from origins', number(`${bytes(t.bytes.to_upstream)} / ${bytes(t.bytes.from_upstream)}`)],
  ];
  if (t.access_log.on) {
    const log = t.access_log;
    rows.push(['access log: written, dropped', [`${count(log.written)} / ${count(log.dropped)}`, log.dropped ? 'number alert' : 'number']]);
  }
  if (t.accept_errors) rows.push(['failed accepts', [count(t.accept_errors), 'number alert']]);
  if (t.panics) rows.push(['panics (defects)', [count(t.panics), 'number alert']]);
  fill('traffic', rows);
}

function kernel(k) {
  if (!k) { fill('kernel', [['not read yet']]); element('absent').replaceChildren(); return; }
  const of = (value, limit) => number(limit === null ? count(value) : `${count(value)} of ${count(limit)}`);
  const memory = k.tcp_memory;
  const rows = [
    ['socket buffers', number(bytes(memory.bytes))],
    ['pressure from, limit', number(`${bytes(memory.pressure)} / ${bytes(memory.high)}`)],
    ['sockets in use, IPv4 / IPv6', number(`${count(k.sockets.inuse_v4)} / ${count(k.sockets.inuse_v6)}`)],
    ['sockets allocated', number(count(k.sockets.alloc))],
    ['orphans', of(k.sockets.orphan, k.orphan_limit)],
    ['TIME_WAIT', of(k.sockets.time_wait, k.time_wait_limit)],
    ['descriptors', of(k.descriptors.open, k.descriptors.limit)],
    ['accept queue overflows', number(count(k.events.listen_overflows))],
    ['resets for lack of memory', number(count(k.events.aborts_on_memory))],
  ];
  for (const [cache, slab] of Object.entries(k.slab)) {
    rows.push([`slab ${cache}`, number(`${count(slab.objects)} objects, ${bytes(slab.bytes)}`)]);
  }
  fill('kernel', rows);
  element('absent').replaceChildren(...k.absent.map((a) => cell('li', `${a.source}: ${a.why}`)));
}

function pressure(p) {
  const levels = ['calm', 'elevated', 'high', 'critical'];
  const percent = (used) => `${Math.round(used * 100)} %`;
  const rows = [['level', [`${p.level} (${levels[p.level]})`, p.level > 1 ? 'number alert' : 'number']]];
  for (const [signal, used] of Object.entries(p.signals).sort((a, b) => b[1] - a[1])) {
    rows.push([words(signal), [percent(used), signal === p.driver && p.level > 0 ? 'number alert' : 'number']]);
  }
  if (p.forecast) rows.push([`${words(p.forecast.signal)}: full in`, [span(Math.round(p.forecast.seconds)), 'number alert']]);
  fill('pressure', rows);
}

function guard(g, fences) {
  const stall = { drop: 'dropped without a word', hold: 'answered late', answer: 'answered at once' }[g.stall];
  const rows = [
    ['mode', number(g.mode === 'observe' ? 'observe: nobody is stalled or fenced' : g.ladder === 'answer' ? 'answer only' : 'enforce')],
    ['a storm is', number(stall)],
    ['fence', number(g.fence.backend ?? 'none')],
    ['fenced clients', number(count(fences.length))],
    ['their dropped SYNs', number(count(g.fenced_syns))],
    ['answers held back', number(`${count(g.holds.open)}, ${bytes(g.holds.bytes)} of ${bytes(g.holds.budget)}`)],
  ];
  if (g.holds.turned_away) rows.push(['not held, the budget being spent', number(count(g.holds.turned_away))]);
  if (g.mode === 'observe') {
    rows.push(['would have been stalled, fenced', number(`${count(g.observed.stalls)}, ${count(g.observed.fences)}`)]);
  }
  fill('guard', rows);
  element('why-not').replaceChildren(...g.fence.why_not.map((why) => cell('li', why)));
}

function fences(list) {
  const now = Date.now() / 1000;
  const time = (seconds) => number(span(Math.max(0, Math.round(seconds))));
  const head = ['address', 'why', number('fenced for'), number('left'), number('SYNs'), number('times'), 'state'];
  const rows = list.slice(0, 64).map((f) => [
    f.address, words(f.reason), time(now - f.since), time(f.until - now), number(count(f.syns)), number(count(f.times)),
    f.half_open ? 'on trial' : 'fenced',
  ]);
  if (list.length > 64) rows.push([`and ${list.length - 64} more`]);
  fill('fences', rows.length ? rows : [['nobody']], rows.length ? head : undefined);
}

function limits(map) {
  fill('limits', Object.entries(map).filter(([, l]) => l.used !== null).map(([name, l]) => [
    words(name), [`${count(l.used)} of ${count(l.limit)}`, l.used >= 0.8 * l.limit ? 'number alert' : 'number'],
  ]));
}

function clients(list) {
  const head = ['address', 'step', number('sockets'), number('kernel'), number('conn/s'), number('req/s'), number('refused/s'),
    number('bytes/s'), number('refused/min'), 'why', ['sample', 'sample']];
  const rows = list.map((c) => {
    const r = c.rates ?? {};
    return [
      c.address, [c.step, c.step === 'answer' ? '' : 'alert'], number(count(c.sockets)), number(bytes(c.kernel_bytes)),
      number(count(r.arrivals)), number(count(r.requests)), number(count(r.refusals)), number(bytes(r.bytes)),
      number(count(c.refusals_per_minute)), c.why ?? '', [c.sample ?? '', 'sample'],
    ];
  });
  fill('clients', rows.length ? rows : [['none']], rows.length ? head : undefined);
}

function show(status) {
  const g = status.gateway;
  element('version').textContent = g.version;
  const state = element('state');
  state.className = g.draining ? 'alert' : '';
  state.textContent = `${g.draining ? 'draining' : 'up'} for ${span(g.uptime_s)}, listening on ${g.listeners.join(', ')}`;
  traffic(status.traffic);
  kernel(status.kernel);
  pressure(status.pressure);
  guard(status.guard, status.fences);
  fences(status.fences);
  limits(status.guard.limits);
  clients(status.clients);
  counters('refusals', status.traffic.refusals, 'none');
  counters('requests', status.traffic.outcomes.request, 'none yet');
  counters('connections', status.traffic.outcomes.connection, 'none yet');
}

async function refresh() {
  try {
    const answer = await fetch('/api/v1/status', { signal: AbortSignal.timeout(5 * PERIOD) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    const state = element('state');
    state.className = 'alert';
    state.textContent = `No answer from the gateway (${error.message}); the figures below are old.`;
  }
  setTimeout(refresh, PERIOD);
}

refresh();
