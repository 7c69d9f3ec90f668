// One client: what the guard did with it and when, how soon it comes back, what it sent. Bytes of strangers, escaped by the gateway
// and shown as text.

import { ABSENT, bytes, clock, count, latency, span } from '/format.js';
import { label, language, t, why } from '/words.js';

const present = (n) => n !== null && n !== undefined;

const make = (tag, text = '', kind = '') => {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
};

/** Writes into `place` what the list (`place.row`) and the gateway (`place.known`) say of a client, if something is new. */
export function fill(place, now) {
  const { row, known = {} } = place;
  const parts = [
    part('detail.events', events(row, known, now)),
    part('detail.ladder', ladder(known.ladder)),
    part('detail.timing', timing(known.timing)),
    part('detail.refusals', known.ladder ? null : refusals(row.refusals)),
    part('detail.destinations', destinations(known.destinations)),
    part('detail.kernel', kernel(known.kernel)),
    part('detail.sample', sample(known.first_sample, '')),
    part('detail.last.sample', row.sample === known.first_sample ? null : sample(row.sample, row.text)),
  ].filter(Boolean);
  if (parts.length === 0) parts.push(make('p', t('detail.row.only')));
  const box = make('div', '', 'details');
  box.append(...parts);
  const said = language() + box.textContent;
  if (place.said === said) return;
  place.said = said;
  place.replaceChildren(box);
}

function part(title, content) {
  if (!content) return null;
  const section = make('section');
  section.append(make('h3', t(title)), content);
  return section;
}

/** What the guard did, the latest first; before that, what it is doing. */
function events(row, known, now) {
  const lines = (known.events ?? []).map(({ at, text }) => `${clock(at)} ${why(text)}`);
  if (row.stalled) lines.unshift(t('detail.stalled', { count: count(row.stalled) }));
  if (row.why) lines.unshift(why(row.why));
  if (present(row.last_refused)) {
    lines.push(t('detail.last', { time: span(now - row.last_refused), address: row.from ?? row.address }));
  }
  if (present(known.since)) lines.push(t('detail.since', { time: span(now - known.since) }));
  if (lines.length === 0) return null;
  const list = make('ul');
  list.append(...lines.map((line) => make('li', line)));
  return list;
}

/** Where it stands in each class of refusals. */
function ladder(rungs) {
  const rows = (rungs ?? []).filter(({ refusals: all }) => all > 0).map((rung) => [
    label('class', rung.class), count(rung.refusals), label('step', rung.step),
    present(rung.since) ? clock(rung.since) : ABSENT, present(rung.trial) ? clock(rung.trial) : ABSENT,
  ]);
  return rows.length ? grid(['detail.class', 'count', 'client.step', 'detail.step.since', 'detail.trial'], rows) : null;
}

/** How long after a refusal it was back: up to so long, how often; the last bin has no end. */
function timing(bins) {
  const all = Array.isArray(bins) ? bins : [];
  const most = Math.max(...all.map((bin) => bin.count), 0);
  if (most === 0) return null;
  const rows = all.map(({ up_to_s: end, count: n }) => [
    present(end) ? t('detail.upto', { time: latency(end) }) : t('detail.over'), count(n), n / most,
  ]);
  return grid(['detail.after', 'count', 'detail.share'], rows);
}

function refusals(map) {
  const rows = Object.entries(map ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  return rows.length ? grid(['detail.class', 'count'], rows.map(([name, n]) => [label('class', name), count(n)])) : null;
}

/** Where its requests could not be brought to. */
function destinations(failed) {
  const rows = (failed?.first ?? []).map(({ host, port, count: n }) => [`${host}:${port}`, count(n)]);
  if (failed?.others) rows.push([t('detail.others'), count(failed.others)]);
  return rows.length ? grid(['detail.destination', 'count'], rows) : null;
}

/** What the kernel holds for it. */
function kernel(held) {
  if (!held) return null;
  const sockets = Object.entries(held.sockets).map(([state, n]) => [label('state', state), count(n)]);
  const memory = ['client_bytes', 'upstream_bytes', 'buffer_bytes'].map((part_) => [label('held', part_), bytes(held[part_])]);
  return grid(['kernel.what', 'box.value'], [...sockets, ...memory]);
}

/** A small table. A number among the cells is a share, drawn as a bar. */
function grid(names, rows) {
  const [table, head, body, line] = [make('table', '', 'pairs'), make('thead'), make('tbody'), make('tr')];
  line.append(...names.map((name, i) => {
    const cell = make('th', t(name), i > 0 ? 'number' : '');
    cell.scope = 'col';
    return cell;
  }));
  head.append(line);
  body.append(...rows.map((row) => {
    const tr = make('tr');
    tr.append(...row.map((content, i) => {
      if (i > 0) return typeof content === 'number' ? bar(content) : make('td', content, 'number');
      const cell = make('th', content);
      cell.scope = 'row';
      return cell;
    }));
    return tr;
  }));
  table.append(head, body);
  return table;
}

function bar(share) {
  const [cell, outer, inner] = [make('td', '', 'share'), make('span', '', 'bar'), make('span')];
  outer.setAttribute('aria-hidden', 'true');
  inner.style.width = `${100 * share}%`;
  outer.append(inner);
  cell.append(outer);
  return cell;
}

function sample(text, told) {
  if (!text) return null;
  const box = make('div');
  box.append(make('pre', text));
  if (told) box.append(make('p', t('detail.told', { text: told })));
  return box;
}
