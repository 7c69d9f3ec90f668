// What one look answers: is the box well, what is the kernel's TCP memory, what is the traffic, what is in force. Each number with
// its unit and its limit; what is not known with the reason.

import { ABSENT, bytes, bytesPerSecond, count, latency, percent, perSecond, span } from '/format.js';
import { Table, paint, toneOf } from '/tables.js';
import { label, t, why } from '/words.js';

const element = (id) => document.getElementById(id);
const present = (n) => n !== null && n !== undefined;
const total = (map) => Object.values(map).reduce((a, b) => a + b, 0);

/** Which file says what, where it cannot be read. */
const FILES = {
  slab: '/proc/slabinfo', tcp_mem: '/proc/sys/net/ipv4/tcp_mem', orphan_limit: '/proc/sys/net/ipv4/tcp_max_orphans',
  time_wait_limit: '/proc/sys/net/ipv4/tcp_max_tw_buckets', sockets: '/proc/net/sockstat', sockets6: '/proc/net/sockstat6',
  events: '/proc/net/netstat', descriptors: '/proc/self/fd', cpu: '/proc/stat', load: '/proc/loadavg',
  memory: '/proc/meminfo', psi_io: '/proc/pressure/io', conntrack: '/proc/sys/net/netfilter/nf_conntrack_count',
  psi_memory: '/proc/pressure/memory', psi_cpu: '/proc/pressure/cpu',
};

/** Why something is not known. */
export function reason(status, what) {
  if (!status.kernel) return t('kernel.unread');
  const absent = status.kernel.absent.find(({ source }) => source === FILES[what]);
  return absent ? `${absent.source}: ${absent.why}` : t('unknown');
}

/** A number, or a dash and why. */
const known = (value, write, status, what) => (present(value) ? write(value) : { text: ABSENT, why: reason(status, what) });

/** The limit beside a number, in words. */
const limited = (limit, write, status, what) =>
  (present(limit) ? t('of', { limit: write(limit) }) : { text: t('of.unknown'), why: reason(status, what) });

/** The share of the memory at which TCP's slab caches count as full (`SLAB_SHARE` of the guard). */
const SLAB_SHARE = 0.15;

/** Bytes of all slab caches, and what counts as all that there is for them. */
function slab(status) {
  const caches = status.kernel && Object.values(status.kernel.slab);
  if (!caches?.length) return { used: null, limit: null };
  const used = caches.reduce((sum, cache) => sum + cache.bytes, 0);
  // An older gateway does not tell its memory, but the signal, which is made of it.
  const [share, memory] = [status.pressure.signals.slab, status.kernel.memory?.total];
  return { used, limit: present(memory) ? SLAB_SHARE * memory : share > 0 && share < 1 ? used / share : null };
}

// -- the verdict and the key figures

export function verdict(status) {
  const { level, driver, signals, forecast } = status.pressure;
  const used = signals[driver];
  document.body.dataset.level = level;
  paint(element('level'), { text: t(`level.${level}`), note: t('level.of', { level: count(level) }), tone: `level-${level}` });
  paint(element('does'), t(`level.does.${level}`));
  paint(element('trouble'), trouble(status));
  paint(element('driver'), driver
    ? { text: t('driver', { signal: label('signal', driver), used: percent(used) }), share: used }
    : t('driver.none'));
  paint(element('forecast'), forecast
    ? { text: t('forecast', { signal: label('signal', forecast.signal), time: span(forecast.seconds) }), tone: 'level-2' }
    : t('forecast.none'));
}

/** Who is worst of those that the guard acts on, and how many they are: a storm is one without any pressure, too. */
function trouble({ clients, fences, guard }) {
  const offends = ({ step, why: told }) => step !== 'answer' || told?.startsWith('would be');
  const all = clients.filter(offends);
  if (all.length === 0) return t('trouble.none');
  const [worst] = all;
  const who = { address: worst.address, why: why(worst.why), count: count(all.length - 1) };
  const acts = fences.length > 0 || guard.mode === 'enforce';
  return { text: t(all.length > 1 ? 'trouble.many' : 'trouble.one', who), tone: acts ? 'level-2' : 'level-3' };
}

/** Refusals a second, whatever became of them. */
function refused(past) {
  const each = ['answered', 'held', 'dropped'].map((form) => past.latest(`refusals_${form}_per_s`)).filter(present);
  return past.latest('refusals_per_s') ?? (each.length ? each.reduce((a, b) => a + b, 0) : null);
}

/** A key figure: its value, and what stands below it. */
function tile(name, value, below, share) {
  const place = element(`tile-${name}`);
  const whole = (content) => (typeof content === 'object' ? content : { text: content });
  paint(place.querySelector('.value'), { ...whole(value), tone: toneOf(share ?? 0) });
  paint(place.querySelector('.below'), { ...whole(below), share });
}

export function tiles(status, past) {
  const { kernel: k, traffic, guard, fences, pressure } = status;
  const { used, limit } = slab(status);
  const memory = k?.tcp_memory ?? {};
  const share = (name) => pressure.signals[name];
  tile('slab', known(used, bytes, status, 'slab'),
    limit ? t('of.ram', { limit: bytes(limit) }) : limited(null, bytes, status, 'slab'), share('slab'));
  tile('buffers', known(memory.bytes, bytes, status, 'sockets'),
    present(memory.high) ? t('of.tcp_mem', { high: bytes(memory.high), pressure: bytes(memory.pressure) })
      : limited(null, bytes, status, 'tcp_mem'), share('tcp_memory'));
  tile('orphans', known(k?.sockets.orphan, count, status, 'sockets'),
    limited(k?.orphan_limit, count, status, 'orphan_limit'), share('orphans'));
  tile('time_wait', known(k?.sockets.time_wait, count, status, 'sockets'),
    limited(k?.time_wait_limit, count, status, 'time_wait_limit'), share('time_wait'));
  tile('connections', count(traffic.connections.open),
    `${t('of', { limit: count(guard.limits.connections?.limit) })} · ${t('tile.tunnels', { count: count(traffic.tunnels) })}`,
    share('connections'));
  const [p50, p99] = [past.latest('request_p50_s'), past.latest('request_p99_s')];
  tile('requests', perSecond(past.latest('requests_per_s')),
    present(p99) ? t('tile.latency', { p50: latency(p50), p99: latency(p99) }) : t('traffic.no.samples'));
  const stalled = status.clients.filter((client) => client.step === 'stall').length;
  tile('refused', perSecond(refused(past)), t('tile.storming', { count: count(stalled) }));
  tile('fenced', count(fences.length), t('tile.syns', { count: perSecond(past.latest('fenced_syns_per_s')) }));
}

// -- the tables of the box

const SIGNALS = [
  'slab', 'tcp_memory', 'orphans', 'time_wait', 'request_sockets', 'listen_overflows', 'descriptors', 'ports', 'connections',
  'accept_delay', 'psi_memory', 'psi_cpu',
];
const MADE_OF = {
  slab: 'slab', tcp_memory: 'tcp_mem', orphans: 'orphan_limit', time_wait: 'time_wait_limit', request_sockets: 'slab',
  listen_overflows: 'events', psi_memory: 'psi_memory', psi_cpu: 'psi_cpu',
};

/** How the guard makes signals of what is measured (src/guard/pressure/signals), read backwards: the most that such a signal
    can be, lost handshakes a second that are all of it, and a delay on a logarithmic scale. In seconds. */
const [HALF, NEARLY, LOST] = [0.6, 0.85, 240];
const delay = (signal) => 0.02 * 5 ** ((signal - 0.5) / 0.2);

function boxRows(status) {
  const { kernel: k, pressure, guard, traffic } = status;
  const { used, limit } = slab(status);
  const handshakes = k && ['request_sock_TCP', 'request_sock_TCPv6'].map((cache) => k.slab[cache]?.objects).filter(present);
  const waiting = handshakes?.length ? handshakes.reduce((a, b) => a + b, 0) : null;
  const share = (name) => pressure.signals[name];
  /** Of what the status tells the signal alone. */
  const measured = (name, write, most) => (present(share(name)) ? [write(share(name)), most] : []);
  const of = (number, most, write, what, whatLimits) =>
    [known(number, write, status, what), known(most, write, status, whatLimits)];
  const values = {
    slab: of(used, limit, bytes, 'slab', 'slab'),
    tcp_memory: of(k?.tcp_memory.bytes, k?.tcp_memory.high, bytes, 'sockets', 'tcp_mem'),
    orphans: of(k?.sockets.orphan, k?.orphan_limit, count, 'sockets', 'orphan_limit'),
    time_wait: of(k?.sockets.time_wait, k?.time_wait_limit, count, 'sockets', 'time_wait_limit'),
    request_sockets: of(waiting, share('request_sockets') > 0 ? waiting * HALF / share('request_sockets') : null, count, 'slab'),
    listen_overflows: measured('listen_overflows', (n) => perSecond(n * LOST / NEARLY), perSecond(LOST)),
    ports: measured('ports', (n) => percent(n / HALF), percent(1)),
    accept_delay: measured('accept_delay', (n) => (n > 0 ? latency(delay(n)) : `< ${latency(delay(0))}`), latency(delay(1))),
    psi_memory: of(k?.stall?.memory, 0.5, percent, 'psi_memory'),
    psi_cpu: of(k?.stall?.cpu, 1, percent, 'psi_cpu'),
    descriptors: of(k?.descriptors.open, k?.descriptors.limit, count),
    connections: of(traffic.connections.open, guard.limits.connections?.limit, count),
  };
  const names = [...new Set([...SIGNALS, ...Object.keys(pressure.signals)])];
  return names.map((name) => ({
    name, share: pressure.signals[name], driver: name === pressure.driver && pressure.level > 0,
    value: values[name]?.[0] ?? '', limit: values[name]?.[1] ?? '', why: reason(status, MADE_OF[name]),
  }));
}

const boxColumns = [
  { name: 'box.signal', cell: (row) => ({ text: label('signal', row.name), tone: row.driver ? 'driver' : '' }) },
  {
    name: 'box.used', kind: 'share',
    cell: (row) => (present(row.share)
      ? { text: percent(row.share), share: row.share, tone: toneOf(row.share) }
      : { text: ABSENT, why: row.why }),
  },
  { name: 'box.value', number: true, cell: (row) => row.value },
  { name: 'box.limit', number: true, cell: (row) => row.limit },
];

function kernelRows(status) {
  const k = status.kernel;
  if (!k) return [];
  const { used, limit } = slab(status);
  const caches = Object.entries(k.slab).map(([name, cache]) => (
    { name: `slab ${name}`, count: count(cache.objects), bytes: bytes(cache.bytes), limit: '' }));
  const objects = Object.values(k.slab).reduce((sum, cache) => sum + cache.objects, 0);
  const row = (name, number, most, what, whatLimits) => ({
    name: t(name), bytes: '', count: known(number, count, status, what),
    limit: whatLimits ? known(most, count, status, whatLimits) : t('no.limit'),
  });
  return [
    ...caches,
    {
      name: t('kernel.all'), count: known(present(used) ? objects : null, count, status, 'slab'),
      bytes: known(used, bytes, status, 'slab'), limit: known(limit, bytes, status, 'slab'),
    },
    {
      name: t('kernel.buffers'), count: '', bytes: known(k.tcp_memory.bytes, bytes, status, 'sockets'),
      limit: known(k.tcp_memory.high, bytes, status, 'tcp_mem'),
    },
    row('kernel.orphans', k.sockets.orphan, k.orphan_limit, 'sockets', 'orphan_limit'),
    row('tile.time_wait', k.sockets.time_wait, k.time_wait_limit, 'sockets', 'time_wait_limit'),
    row('kernel.v4', k.sockets.inuse_v4, null, 'sockets'),
    row('kernel.v6', k.sockets.inuse_v6, null, 'sockets6'),
    row('kernel.alloc', k.sockets.alloc, null, 'sockets'),
    row('kernel.descriptors', k.descriptors.open, k.descriptors.limit, 'descriptors', 'descriptors'),
    row('kernel.overflows', k.events.listen_overflows, null, 'events'),
    row('kernel.aborts', k.events.aborts_on_memory, null, 'events'),
  ];
}

const kernelColumns = [
  { name: 'kernel.what', cell: (row) => row.name },
  { name: 'kernel.count', number: true, cell: (row) => row.count },
  { name: 'kernel.bytes', number: true, cell: (row) => row.bytes },
  { name: 'box.limit', number: true, cell: (row) => row.limit },
];

function trafficRows(status, past) {
  const { traffic, guard } = status;
  const limit = (name) => count(guard.limits[name]?.limit);
  const row = (name, now, beside = '') => ({ name, now, beside });
  const time = (column) => {
    const value = past.latest(column);
    return present(value) ? latency(value) : { text: ABSENT, why: t('traffic.no.samples') };
  };
  const moved = (name) => row(`traffic.${name}`, bytesPerSecond(past.latest(`${name}_bytes_per_s`)), bytes(traffic.bytes[name]));
  const log = traffic.access_log;
  return [
    row('traffic.requests', perSecond(past.latest('requests_per_s')), count(traffic.requests)),
    row('traffic.refused', perSecond(refused(past)), count(total(traffic.refusals))),
    row('traffic.arrivals', perSecond(past.latest('arrivals_per_s')), count(traffic.connections.total)),
    row('traffic.connections', count(traffic.connections.open), t('of', { limit: limit('connections') })),
    row('traffic.tunnels', count(traffic.tunnels), t('of', { limit: limit('connections') })),
    row('traffic.upstreams', count(traffic.upstreams.open), t('no.limit')),
    row('traffic.idle', count(traffic.upstreams.idle), t('of', { limit: limit('idle_upstreams') })),
    moved('from_client'), moved('to_client'), moved('to_upstream'), moved('from_upstream'),
    row('traffic.p50', time('request_p50_s')), row('traffic.p99', time('request_p99_s')),
    row('traffic.connect', time('connect_p99_s')),
    ...(log.on ? [row('traffic.log', { text: count(log.dropped), tone: log.dropped ? 'level-2' : '' },
      t('traffic.written', { count: count(log.written) }))] : []),
    ...(traffic.accept_errors ? [row('traffic.accepts', { text: count(traffic.accept_errors), tone: 'level-2' })] : []),
    ...(traffic.panics ? [row('traffic.panics', { text: count(traffic.panics), tone: 'level-3' })] : []),
  ];
}

function machineRows(status) {
  const k = status.kernel;
  if (!k) return [];
  const row = (name, value, write, what, limit = '') => ({ name, value: known(value, write, status, what), limit });
  const { cpu, memory, stall, conntrack, disks = [] } = k;
  const most = (all, write) => (present(all) ? write(all) : '');
  const cores = (name, value) => row(name, value, percent, 'cpu', percent(1));
  const stalled = (name) => row(`machine.stall.${name}`, stall?.[name], percent, `psi_${name}`, percent(1));
  return [
    cores('machine.busy', cpu && 1 - cpu.idle - cpu.iowait), cores('machine.softirq', cpu?.softirq),
    cores('machine.iowait', cpu?.iowait), cores('machine.steal', cpu?.steal),
    row('machine.load', k.load, count, 'load', t('no.limit')),
    row('machine.memory', memory?.available, bytes, 'memory', most(memory?.total, bytes)),
    stalled('memory'), stalled('cpu'), stalled('io'),
    row('machine.conntrack', conntrack?.count, count, 'conntrack', most(conntrack?.limit || null, count)),
    ...disks.map(({ path, free, total: size }) => ({ ...row('machine.disk', free, bytes, 'disks', most(size, bytes)), path })),
  ];
}

const machineColumns = [
  { name: 'kernel.what', cell: (row) => t(row.name, { path: row.path }) },
  { name: 'traffic.now', number: true, cell: (row) => row.value },
  { name: 'box.limit', number: true, cell: (row) => row.limit },
];

const trafficColumns = [
  { name: 'traffic.what', cell: (row) => t(row.name) },
  { name: 'traffic.now', number: true, cell: (row) => row.now },
  { name: 'traffic.total', number: true, cell: (row) => row.beside },
];

// -- what folds

function guardRows({ guard: g }) {
  const row = (name, value) => ({ name, value });
  const mode = g.mode === 'observe' ? 'guard.observe' : g.ladder === 'answer' ? 'guard.answer' : 'guard.enforce';
  return [
    row('guard.mode', t(mode)),
    row('guard.stall', label('stall', g.stall)),
    row('guard.fence', g.fence.backend ?? t('guard.none')),
    ...g.fence.why_not.map((text, i) => ({ name: 'guard.fence', id: `why-not-${i}`, value: text })),
    row('guard.holds', count(g.holds.open)),
    row('guard.budget', `${bytes(g.holds.bytes)} ${t('of', { limit: bytes(g.holds.budget) })}`),
    row('guard.spent', count(g.holds.turned_away)),
    ...(g.mode === 'observe' ? [row('guard.observed', `${count(g.observed.stalls)}, ${count(g.observed.fences)}`)] : []),
    row('guard.changes', why(g.changes)),
  ];
}

/** Limits that are bytes. */
const IN_BYTES = new Set(['hold_memory', 'head_size', 'target_size']);
const writeLimit = ({ name }) => (IN_BYTES.has(name) ? bytes : count);

const pairs = (group) => (map) => Object.entries(map).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1])
  .map(([name, n]) => ({ name: label(group, name), value: count(n) }));
const pairColumns = (first, second) => [
  { name: first, cell: (row) => row.name },
  { name: second, number: true, cell: (row) => row.value },
];

export class Panels {
  #tables = {};

  constructor() {
    const table = (id, columns, key = (row) => row.name) => { this.#tables[id] = new Table(element(id), columns, { key }); };
    table('box-table', boxColumns);
    table('machine-table', machineColumns, (row) => row.name + (row.path ?? ''));
    table('kernel-table', kernelColumns);
    table('traffic-table', trafficColumns);
    table('guard-table', [
      { name: 'guard', cell: (row) => t(row.name) },
      { name: 'traffic.now', cell: (row) => row.value },
    ], (row) => row.id ?? row.name);
    table('limits-table', [
      { name: 'limit.name', cell: (row) => label('limit', row.name) },
      { name: 'box.value', number: true, cell: (row) => ({ text: writeLimit(row)(row.used), tone: toneOf(row.used / row.limit) }) },
      { name: 'box.limit', number: true, cell: (row) => writeLimit(row)(row.limit) },
    ]);
    table('refusals-table', pairColumns('refusal.reason', 'count'));
    table('requests-table', pairColumns('outcome', 'count'));
    table('connections-table', pairColumns('outcome', 'count'));
  }

  name() {
    Object.values(this.#tables).forEach((table) => table.name());
  }

  show(status, past) {
    const tables = this.#tables;
    tables['box-table'].show(boxRows(status));
    tables['machine-table'].show(machineRows(status));
    tables['kernel-table'].show(kernelRows(status));
    tables['traffic-table'].show(trafficRows(status, past));
    if (!element('more').open) return;
    tables['guard-table'].show(guardRows(status));
    tables['limits-table'].show(Object.entries(status.guard.limits).map(([name, limit]) => ({ name, ...limit })));
    tables['refusals-table'].show(pairs('reason')(status.traffic.refusals));
    tables['requests-table'].show(pairs('end')(status.traffic.outcomes.request));
    tables['connections-table'].show(pairs('end')(status.traffic.outcomes.connection));
  }
}

/** Why figures are absent, one line each. */
export function absences(status) {
  const list = element('absent');
  const said = JSON.stringify(status.kernel?.absent ?? []);
  if (list.said === said) return;
  list.said = said;
  list.replaceChildren(...(status.kernel?.absent ?? []).map(({ source, why: because }) => {
    const item = document.createElement('li');
    item.textContent = `${ABSENT} ${source}: ${because}`;
    return item;
  }));
}
