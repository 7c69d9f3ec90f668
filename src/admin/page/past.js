// Fifteen minutes, a value a second: what the gateway remembers, and what has arrived since.

export const SPAN = 900;
/** What is shown while less is known, in seconds. */
const SPANS = [120, 300, SPAN];
/** Seconds without a value that are bridged: events do not come on the dot, and where they do not come at all it is asked every
    two seconds. */
const BRIDGED = 3;
/** What is not older is still the present, in seconds: the gateway's own figures come every few seconds. */
const RECENT = 10;

const sum = (...values) => {
  const known = values.filter((value) => Number.isFinite(value));
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
};

/** The gateway's memory may be some seconds behind what has arrived; more, and its clock was set. In s. */
const SET_BACK = 30;

/** Two statuses that arrive at once, after a pause of the browser, say nothing about a rate. In s. */
const APART = 0.5;

/** What a status says of its second, by the names of the columns. Counters become rates, against the status before. */
export function values(status, before, passed) {
  const { kernel: k, traffic: now } = status;
  const rate = (read) => {
    const [a, b] = [before && read(before), read(status)];
    // It falls when the gateway has started anew.
    return Number.isFinite(a) && Number.isFinite(b) && b >= a && passed >= APART ? (b - a) / passed : null;
  };
  const slab = (...caches) => sum(...caches.map((cache) => k?.slab?.[cache]?.bytes));
  const moved = (direction) => rate(({ traffic }) => traffic.bytes[direction]);
  const signals = Object.values(status.pressure.signals);
  return {
    pressure_level: status.pressure.level,
    pressure_worst: signals.length ? Math.max(...signals) : null,
    slab_tcp_bytes: slab('TCP'),
    slab_tcpv6_bytes: slab('TCPv6'),
    slab_time_wait_bytes: slab('tw_sock_TCP', 'tw_sock_TCPv6'),
    slab_request_bytes: slab('request_sock_TCP', 'request_sock_TCPv6'),
    tcp_memory_bytes: k?.tcp_memory.bytes,
    orphans: k?.sockets.orphan,
    time_wait: k?.sockets.time_wait,
    sockets: sum(k?.sockets.inuse_v4, k?.sockets.inuse_v6),
    connections: now.connections.open,
    tunnels: now.tunnels,
    holds: status.guard.holds.open,
    fences: status.fences.length,
    fenced_syns_per_s: rate(({ guard }) => guard.fenced_syns),
    requests_per_s: rate(({ traffic }) => traffic.requests),
    from_client_bytes_per_s: moved('from_client'),
    to_client_bytes_per_s: moved('to_client'),
    from_upstream_bytes_per_s: moved('from_upstream'),
    to_upstream_bytes_per_s: moved('to_upstream'),
    cpu_busy: k?.cpu && 1 - k.cpu.idle - k.cpu.iowait,
    cpu_iowait: k?.cpu?.iowait,
    // Not among the gateway's columns: the sum of three of them, and what is never plotted.
    refusals_per_s: rate(({ traffic }) => sum(...Object.values(traffic.refusals))),
    arrivals_per_s: rate(({ traffic }) => traffic.connections.total),
  };
}

export class Past {
  /** Seconds since 1970 of the last value. */
  end = 0;
  #columns = new Map();
  /** When each column was last given a value. */
  #last = new Map();

  /** Seconds since 1970, for the axis. */
  times() {
    return Array.from({ length: SPAN }, (_, i) => this.end - SPAN + 1 + i);
  }

  /** How far back it is known what was, as one of a few spans. */
  span() {
    const first = this.get('connections').findIndex((value) => value !== null);
    return SPANS.find((span) => first >= SPAN - span) ?? SPAN;
  }

  /** The values of a column, the latest last. */
  get(name) {
    return this.#columns.get(name) ?? this.#empty();
  }

  /** The present value of a column. */
  latest(name) {
    return this.get(name).slice(-RECENT).findLast((value) => value !== null) ?? null;
  }

  /** What is known of one second. */
  add(second, row) {
    this.#moveTo(second);
    for (const [name, value] of Object.entries(row)) {
      if (!Number.isFinite(value)) continue;
      const [column, at] = [this.#column(name), SPAN - 1 - (this.end - second)];
      const gap = second - (this.#last.get(name) ?? 0);
      const from = gap > 0 && gap <= BRIDGED ? at - gap + 1 : at;
      for (let i = Math.max(0, from); i <= at; i += 1) column[i] = value;
      this.#last.set(name, second);
    }
  }

  /** What the gateway remembers. It knows better than we, but we may remember what was before its start. */
  merge({ end, columns }) {
    this.#moveTo(end);
    for (const [name, remembered] of Object.entries(columns)) {
      const column = this.#column(name);
      const shift = SPAN - (this.end - end) - remembered.length;
      remembered.forEach((value, i) => {
        if (Number.isFinite(value) && column[i + shift] !== undefined) column[i + shift] = value;
      });
    }
  }

  #empty() {
    return new Array(SPAN).fill(null);
  }

  #column(name) {
    if (!this.#columns.has(name)) this.#columns.set(name, this.#empty());
    return this.#columns.get(name);
  }

  #moveTo(second) {
    const by = second - this.end;
    // The gateway's clock was set back: what we have is of no time any more, and would be shown until it has caught up.
    if (by < -SET_BACK) {
      this.#columns.clear();
      this.#last.clear();
      this.end = second;
    }
    if (by <= 0) return;
    this.end = second;
    for (const [name, column] of this.#columns) {
      this.#columns.set(name, [...column.slice(by), ...new Array(Math.min(by, SPAN)).fill(null)]);
    }
  }
}
