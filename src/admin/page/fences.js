// Who is kept out in the kernel, until when, and letting him in again: that takes the token, asked for once and kept until the tab
// is closed.

import { ABSENT, clock, count, span } from '/format.js';
import { Table } from '/tables.js';
import { label, t, why } from '/words.js';

const KEY = 'floodgate.token';
const WRITABLE = /^[\x21-\x7e]+$/;
const SHOWN = 64;
const element = (id) => document.getElementById(id);
const present = (n) => n !== null && n !== undefined;

const columns = (now, release) => [
  { name: 'fence.address', cell: (row) => row.address },
  { name: 'fence.reason', cell: (row) => label('class', row.reason) },
  { name: 'fence.for', number: true, cell: (row) => (present(row.since) ? span(now() - row.since) : ABSENT) },
  { name: 'fence.left', number: true, cell: (row) => (present(row.until) ? span(row.until - now()) : ABSENT) },
  { name: 'fence.until', number: true, cell: (row) => clock(row.until) },
  {
    name: 'fence.syns', number: true,
    cell: (row) => (present(row.syns) ? count(row.syns) : { text: ABSENT, why: t('unknown') }),
  },
  { name: 'fence.times', number: true, cell: (row) => count(row.times) },
  { name: 'fence.state', cell: (row) => t(row.half_open ? 'fence.trial' : 'fence.shut') },
  {
    name: 'fence.release',
    build(cell, row) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'release';
      button.dataset.address = row.address;
      button.addEventListener('click', () => release(row.address));
      cell.append(button);
    },
  },
];

export class Fences {
  #table;
  #changes = '';
  #dialog = element('token-dialog');
  #field = element('token');
  /** The address whose release waits for the token. */
  #waiting = null;

  constructor(now) {
    const all = columns(now, (address) => this.#release(address));
    this.#table = new Table(element('fences-table'), all, { key: (row) => row.address });
    element('token-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const token = this.#field.value.trim();
      this.#dialog.close();
      // Of what no header can carry nothing is kept: it would be in the way until the tab is closed.
      if (WRITABLE.test(token)) sessionStorage.setItem(KEY, token);
      else tell(t('fence.wrong'));
      this.#release(this.#waiting);
    });
    element('token-cancel').addEventListener('click', () => this.#dialog.close());
    // The token does not stay in the page.
    this.#dialog.addEventListener('close', () => { this.#field.value = ''; });
  }

  name() {
    this.#table.name();
    this.#label();
  }

  show({ fences, guard }) {
    this.#changes = guard.changes;
    this.#table.show(fences.slice(0, SHOWN));
    const off = this.#isOff();
    const more = fences.length > SHOWN ? t('fences.more', { count: count(fences.length - SHOWN) }) : '';
    const text = fences.length === 0 ? t('fences.none') : off ? t('fence.off', { why: why(this.#changes) }) : more;
    const note = element('fences-note');
    if (note.textContent !== text) note.textContent = text;
    element('fences-table').hidden = fences.length === 0;
    this.#label();
  }

  #isOff() {
    return this.#changes.startsWith('off');
  }

  #label() {
    const off = this.#isOff();
    for (const button of element('fences-table').querySelectorAll('button.release')) {
      const name = t('fence.release.of', { address: button.dataset.address });
      if (button.getAttribute('aria-label') !== name) {
        button.setAttribute('aria-label', name);
        button.textContent = t('fence.release');
      }
      button.disabled = off;
    }
  }

  async #release(address) {
    const token = sessionStorage.getItem(KEY);
    if (!token) return this.#ask(address);
    const [ok, code, text] = await post(address, token);
    if (code === 401) {
      sessionStorage.removeItem(KEY);
      tell(t('fence.wrong'));
      return this.#ask(address);
    }
    return tell(t(ok ? 'fence.released' : 'fence.failed', { address, why: text }));
  }

  #ask(address) {
    this.#waiting = address;
    this.#dialog.showModal();
  }
}

function tell(text) {
  element('release-note').textContent = text;
}

async function post(address, token) {
  try {
    const answer = await fetch('/api/v1/fences/release', {
      method: 'POST',
      headers: { 'Authorization': `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ address }),
    });
    return [answer.ok, answer.status, (await answer.text()).trim()];
  } catch (error) {
    return [false, 0, error.message];
  }
}
