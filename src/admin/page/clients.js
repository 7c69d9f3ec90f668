// Who is the trouble: the clients the gateway lists, sorted as the operator wants.

import { fill } from '/detail.js';
import { ABSENT, bytes, count } from '/format.js';
import { fetched } from '/live.js';
import { Table } from '/tables.js';
import { label, t, why } from '/words.js';

/** An open client is asked about again after this, in ms. */
const AGAIN = 2_000;
const STEPS = ['answer', 'stall', 'fence'];
const present = (n) => n !== null && n !== undefined;

const rate = (row, name) => row.rates?.[name];
const number = (name, read, write, missing) => ({
  name, number: true, sort: read,
  cell: (row) => (present(read(row)) ? write(read(row)) : { text: ABSENT, why: t(missing) }),
});

const columns = [
  { name: 'client.address', sort: (row) => row.address, cell: (row) => row.address },
  {
    name: 'client.step', sort: (row) => STEPS.indexOf(row.step),
    cell: (row) => ({ text: label('step', row.step), tone: `step-${STEPS.indexOf(row.step)}` }),
  },
  number('client.kernel', (row) => row.kernel_bytes, bytes, 'client.unmeasured'),
  number('client.sockets', (row) => row.sockets, count, 'client.unknown'),
  number('client.arrivals', (row) => rate(row, 'arrivals'), count, 'client.unknown'),
  number('client.requests', (row) => rate(row, 'requests'), count, 'client.unknown'),
  number('client.refusals', (row) => rate(row, 'refusals'), count, 'client.unknown'),
  number('client.minute', (row) => row.refusals_per_minute, count, 'client.unknown'),
  number('client.bytes', (row) => rate(row, 'bytes'), bytes, 'client.unknown'),
  { name: 'client.why', kind: 'why', cell: (row) => why(row.why) },
];

/** What each may have: the limits of the columns. */
function limits({ guard }) {
  const [open, arrivals, requests] = ['client_connections', 'client_connection_rate', 'client_request_rate']
    .map((name) => count(guard.limits[name]?.limit));
  return t('clients.limits', { open, arrivals, requests });
}

/** The table of clients. */
export class Clients {
  #table;
  #note = document.getElementById('clients-note');
  #now;

  /** `now()`: the gateway's time, in seconds since 1970. */
  constructor(table, now) {
    this.#now = now;
    this.#table = new Table(table, columns, { key: (row) => row.address, open: (row, place) => this.#open(row, place) });
  }

  name() {
    this.#table.name();
  }

  show(status) {
    this.#table.show(status.clients);
    const { limit, used } = status.guard.limits.clients_tracked ?? {};
    const told = status.clients.length
      ? t('clients.shown', { shown: count(status.clients.length), tracked: count(used), limit: count(limit) })
      : t('clients.none');
    const unmeasured = status.clients.some((row) => !present(row.kernel_bytes));
    const text = [told, status.clients.length && limits(status), unmeasured && t('clients.memory')].filter(Boolean).join(' ');
    if (this.#note.textContent !== text) this.#note.textContent = text;
  }

  #open(row, place) {
    place.row = row;
    if (!(performance.now() - place.asked < AGAIN)) {
      place.asked = performance.now();
      fetched(`/api/v1/clients/${encodeURIComponent(row.address)}`).then((known) => {
        place.known = known ?? place.known;
        fill(place, this.#now());
      });
    }
    fill(place, this.#now());
  }
}
