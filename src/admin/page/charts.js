// The last 15 minutes as curves: what is drawn together, and the drawing (uPlot). A legend of our own says each value, under the
// pointer or else the latest, with its unit and its limit, for those who do not see the curves as well.

import { bytes, bytesPerSecond, clock, count, latency, percent, perSecond } from '/format.js';
import { t } from '/words.js';

const HEIGHT = 132;
/** Steps of an axis of bytes: powers of two, so that its numbers are round. */
const BINARY = Array.from({ length: 44 }, (_, i) => 2 ** i);

/** One figure each: the columns drawn in it, and how its numbers are written. `limits` reads a column's limit in a status. */
const CHARTS = [
  { name: 'pressure', write: percent, top: 1, columns: ['pressure_worst'] },
  {
    name: 'memory', write: bytes, steps: BINARY,
    columns: ['slab_tcp_bytes', 'slab_tcpv6_bytes', 'slab_time_wait_bytes', 'slab_request_bytes', 'tcp_memory_bytes'],
    limits: { tcp_memory_bytes: (status) => status.kernel?.tcp_memory.high },
  },
  {
    name: 'left', write: count, columns: ['sockets', 'time_wait', 'orphans'],
    limits: { time_wait: (status) => status.kernel?.time_wait_limit, orphans: (status) => status.kernel?.orphan_limit },
  },
  {
    name: 'open', write: count, columns: ['connections', 'tunnels', 'holds', 'fences'],
    limits: { connections: (status) => status.guard.limits.connections?.limit },
  },
  {
    name: 'requests', write: perSecond,
    columns: [
      'requests_per_s', 'refusals_answered_per_s', 'refusals_dropped_per_s', 'refusals_held_per_s', 'fenced_syns_per_s',
      'failures_per_s',
    ],
  },
  { name: 'bytes', write: bytesPerSecond, steps: BINARY, columns: ['to_client_bytes_per_s', 'from_client_bytes_per_s'] },
  { name: 'latency', write: latency, columns: ['request_p50_s', 'request_p99_s', 'connect_p99_s'] },
  { name: 'cores', write: percent, top: 1, columns: ['cpu_busy', 'cpu_iowait'] },
];

const make = (tag, kind, ...children) => {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  node.append(...children);
  return node;
};

/** The colours of the page's theme, read once a theme. */
let colours = {};
const colour = (name) => {
  colours[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return colours[name];
};

class Chart {
  #spec;
  #plot = null;
  #figure;
  #title = make('h3');
  #canvas = make('div', 'plot');
  #values = new Map();
  #status = null;
  #past = null;
  /** The second under the pointer, as an index. */
  #at = null;

  constructor(spec, place) {
    this.#spec = spec;
    const legend = make('ul', 'legend');
    spec.columns.forEach((column, i) => {
      const [name, value] = [make('span'), make('b')];
      legend.append(make('li', '', make('i', `swatch line-${i + 1}`), name, ' ', value));
      this.#values.set(column, { name, value });
    });
    this.#canvas.setAttribute('role', 'img');
    this.#figure = make('figure', 'chart', make('figcaption', '', this.#title, legend), this.#canvas);
    place.append(this.#figure);
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
  }

  name() {
    const title = t(`chart.${this.#spec.name}`);
    this.#title.textContent = title;
    this.#canvas.setAttribute('aria-label', t('past.plot', { title }));
    for (const [column, { name }] of this.#values) name.textContent = t(`series.${column}`);
    this.#plot?.redraw(false, true);
  }

  show(past, status) {
    [this.#past, this.#status] = [past, status];
    this.#figure.dataset.known = past.get(this.#spec.columns[0]).filter((value) => value !== null).length;
    const data = [past.times(), ...this.#spec.columns.map((column) => past.get(column))];
    if (this.#plot) this.#plot.setData(data);
    else if (this.#canvas.clientWidth > 0) this.#plot = this.#draw(data);
    this.#tell();
  }

  redraw() {
    this.#plot?.redraw(false, true);
  }

  /** Writes the values of the second under the pointer, or the latest ones with their limits. */
  #tell() {
    const { write, limits = {} } = this.#spec;
    for (const [column, { value }] of this.#values) {
      const known = this.#at === null ? this.#past.latest(column) : this.#past.get(column)[this.#at];
      const limit = this.#at === null && this.#status ? limits[column]?.(this.#status) : null;
      const text = limit ? `${write(known)} / ${write(limit)}` : write(known);
      if (value.textContent !== text) value.textContent = text;
    }
  }

  #resize() {
    const width = this.#canvas.clientWidth;
    if (this.#plot && width > 0) this.#plot.setSize({ width, height: HEIGHT });
    else if (this.#past) this.show(this.#past, this.#status);
  }

  #draw(data) {
    const { write, steps, top, columns } = this.#spec;
    const axis = {
      stroke: () => colour('faint'), font: '11px system-ui, sans-serif',
      grid: { stroke: () => colour('line'), width: 1 }, ticks: { show: false },
    };
    const line = (_, i) => ({ stroke: () => colour(`line-${i + 1}`), width: 1.5, points: { show: false }, spanGaps: false });
    const options = {
      width: this.#canvas.clientWidth, height: HEIGHT, padding: [8, 28, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: 'past' }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => [this.#past.end - this.#past.span(), this.#past.end] },
        // Nothing but zeroes is drawn at the bottom.
        y: { range: (_, __, max) => [0, top ?? (max > 0 ? max * 1.1 : 1)] },
      },
      axes: [
        { ...axis, size: 22, space: 56, values: (_, splits, __, ___, step) => splits.map((second) => clock(second, step < 60)) },
        { ...axis, size: 64, space: 28, values: (_, splits) => splits.map(write), ...(steps ? { incrs: steps } : {}) },
      ],
      series: [{}, ...columns.map(line)],
      hooks: {
        setCursor: [(plot) => {
          this.#at = plot.cursor.idx ?? null;
          this.#tell();
        }],
      },
    };
    return new window.uPlot(options, data, this.#canvas);
  }
}

/** All charts, in one place of the page. */
export class Charts {
  #charts;

  constructor(place) {
    this.#charts = CHARTS.map((spec) => new Chart(spec, place));
    this.name();
  }

  name() {
    this.#charts.forEach((chart) => chart.name());
  }

  show(past, status) {
    this.#charts.forEach((chart) => chart.show(past, status));
  }

  /** After a change of the theme. */
  recolour() {
    colours = {};
    this.#charts.forEach((chart) => chart.redraw());
  }
}
