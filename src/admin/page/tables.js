// Tables whose rows are kept and changed in place: sorted by any column, opened by a button. All text goes through textContent:
// much of it is strangers' bytes.

import { t } from '/words.js';

const make = (tag, kind) => {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  return node;
};

/**
 * Writes into a cell what is not there already: a text, or a text with what belongs to it: `note` (smaller), `why` (what a dash
 * means), `tone` (a class), `share` (a bar, from 0 to 1).
 */
export function paint(cell, content) {
  const whole = content !== null && typeof content === 'object' ? content : { text: content };
  const said = JSON.stringify(whole);
  if (cell.said === said) return;
  cell.said = said;
  const { text = '', note = '', why = '', tone = '', share } = whole;
  const parts = [String(text ?? '')];
  if (why) {
    const reason = make('span', 'hidden');
    reason.textContent = ` (${why})`;
    parts.push(reason);
  }
  cell.title = why;
  if (note) {
    const small = make('small');
    small.textContent = ` ${note}`;
    parts.push(small);
  }
  if (Number.isFinite(share)) parts.push(bar(share));
  cell.replaceChildren(...parts);
  cell.className = [cell.dataset.kind ?? '', tone].join(' ').trim();
}

/** What a share of a limit is called in the style sheet: as the levels of pressure. */
export function toneOf(share) {
  return share >= 0.9 ? 'level-3' : share >= 0.7 ? 'level-2' : share >= 0.5 ? 'level-1' : '';
}

function bar(share) {
  const [outer, inner] = [make('span', 'bar'), make('span', toneOf(share))];
  outer.setAttribute('aria-hidden', 'true');
  inner.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
  outer.append(inner);
  return outer;
}

/**
 * A table of rows with a key.
 *
 * A column has `name` (the key of its word), `cell(row)` (see [paint]), and if it wants `number`, `sort(row)` (what it is sorted
 * by), `build(cell, row)` (once, instead of `cell`).
 */
export class Table {
  #columns;
  #key;
  #open;
  #head = make('tr');
  #body = make('tbody');
  /** By key: the row's nodes, its data, and its opened part. */
  #rows = new Map();
  #sorted = null;
  #latest = [];

  /** `key(row)`: what it is known by. `open(row, place)`: fills the part that a row opens; again whenever something is new. */
  constructor(table, columns, { key, open = null }) {
    [this.#columns, this.#key, this.#open] = [columns, key, open];
    const head = make('thead');
    head.append(this.#head);
    table.append(head, this.#body);
    for (const column of columns) this.#head.append(this.#heading(column));
    this.name();
  }

  /** Writes the words anew, after a change of the language. */
  name() {
    this.#columns.forEach(({ name }, i) => {
      const cell = this.#head.children[i];
      (cell.querySelector('button') ?? cell).textContent = t(name);
    });
    for (const { nodes } of this.#rows.values()) nodes.forEach((node) => { node.said = undefined; });
  }

  show(rows) {
    this.#latest = rows;
    const fresh = new Map(rows.map((row) => [this.#key(row), row]));
    for (const [key, entry] of this.#rows) {
      if (!fresh.has(key)) {
        entry.line.remove();
        entry.detail?.remove();
        this.#rows.delete(key);
      }
    }
    for (const [key, row] of fresh) this.#write(key, row);
    this.#arrange([...fresh.keys()]);
  }

  #heading(column) {
    const cell = make('th', column.number ? 'number' : '');
    cell.scope = 'col';
    if (column.sort) {
      const button = make('button', 'sorter');
      button.type = 'button';
      button.addEventListener('click', () => this.#sortBy(column, cell));
      cell.append(button);
    }
    return cell;
  }

  /** The greatest first; then the smallest first; then as the gateway has them. */
  #sortBy(column, cell) {
    const next = this.#sorted?.column !== column ? 'descending' : this.#sorted.order === 'descending' ? 'ascending' : null;
    this.#sorted = next && { column, order: next };
    for (const other of this.#head.children) other.removeAttribute('aria-sort');
    if (next) cell.setAttribute('aria-sort', next);
    this.show(this.#latest);
  }

  #write(key, row) {
    const entry = this.#rows.get(key) ?? this.#build(key, row);
    entry.row = row;
    this.#columns.forEach((column, i) => {
      if (column.cell) paint(entry.nodes[i], column.cell(row));
    });
    if (entry.detail && !entry.detail.hidden) this.#open(row, entry.place);
  }

  #build(key, row) {
    const line = make('tr');
    const entry = { line, row, nodes: [], detail: null, place: null };
    this.#columns.forEach((column, i) => {
      const cell = make(i === 0 ? 'th' : 'td');
      if (i === 0) cell.scope = 'row';
      const kind = [column.number ? 'number' : '', column.kind ?? ''].join(' ').trim();
      cell.className = kind;
      let painted = cell;
      if (i === 0 && this.#open) {
        painted = make('button');
        painted.type = 'button';
        painted.dataset.kind = 'opener';
        painted.setAttribute('aria-expanded', 'false');
        painted.addEventListener('click', () => this.#toggle(entry, painted));
        cell.append(painted);
      } else {
        cell.dataset.kind = kind;
      }
      column.build?.(cell, row);
      entry.nodes.push(painted);
      line.append(cell);
    });
    this.#rows.set(key, entry);
    return entry;
  }

  #toggle(entry, button) {
    if (!entry.detail) {
      entry.detail = make('tr', 'detail');
      entry.place = make('td');
      entry.place.colSpan = this.#columns.length;
      entry.detail.append(entry.place);
      entry.detail.hidden = true;
      entry.line.after(entry.detail);
    }
    entry.detail.hidden = !entry.detail.hidden;
    button.setAttribute('aria-expanded', String(!entry.detail.hidden));
    if (!entry.detail.hidden) this.#open(entry.row, entry.place);
  }

  /** Puts the rows in order. While somebody points at one or stands on one, they stay where they are, and new ones follow. */
  #arrange(given) {
    const busy = this.#body.contains(document.activeElement) || this.#body.matches(':hover');
    const standing = new Set(this.#body.children);
    const order = busy ? [...this.#rows.keys()].filter((key) => !standing.has(this.#rows.get(key).line)) : this.#order(given);
    let at = busy ? null : this.#body.firstElementChild;
    for (const key of order) {
      const { line, detail } = this.#rows.get(key);
      if (line === at) {
        at = (detail ?? line).nextElementSibling;
        continue;
      }
      this.#body.insertBefore(line, at);
      if (detail) this.#body.insertBefore(detail, at);
    }
  }

  #order(keys) {
    if (!this.#sorted) return keys;
    const { column, order } = this.#sorted;
    const sign = order === 'ascending' ? 1 : -1;
    const value = (key) => column.sort(this.#rows.get(key).row) ?? -1;
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return keys.toSorted((a, b) => sign * compare(value(a), value(b)) || compare(a, b));
  }
}
