// Which alarms stand: what, since when, how often, a sample, and what to do.

import { clock, count, span } from '/format.js';
import { both, label, language, t } from '/words.js';

const ORDER = ['critical', 'warning', 'info'];
const element = (id) => document.getElementById(id);

const make = (tag, text = '', kind = '') => {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
};

const id = (alarm) => alarm.id ?? alarm.alarm ?? '';
const rank = (alarm) => ORDER.indexOf(alarm.severity);

/** By id: the alarm's part of the page, and what it says. */
const standing = new Map();

export function alarms(status) {
  const all = (status.alarms ?? []).toSorted((a, b) => rank(a) - rank(b));
  const note = !status.alarms ? t('alarms.absent') : all.length === 0 ? t('alarms.none')
    : t(all.length === 1 ? 'alarms.stand.one' : 'alarms.stand', { count: count(all.length) });
  // Read out when it changes, and only then.
  if (element('alarms-note').textContent !== note) element('alarms-note').textContent = note;
  // Twenty clients that do the same are one alarm to whoever reads: the worst of them, and how many more.
  const groups = Map.groupBy(all, id);
  for (const [key, entry] of standing) {
    if (!groups.has(key)) {
      entry.item.remove();
      standing.delete(key);
    }
  }
  for (const [key, group] of groups) write(key, group.toSorted(worse));
  arrange([...groups.keys()].map((key) => standing.get(key).item));
}

/** The subject of all that the gateway names no more. */
const REST = '…';
const worse = (a, b) => (a.subject === REST) - (b.subject === REST) || rate(b) - rate(a) || (b.count ?? 0) - (a.count ?? 0);

/** What is wrong, in a line. */
function titled(alarm) {
  const title = both(alarm.title) || label('alarm', id(alarm));
  return alarm.subject === REST ? t('alarm.rest', { title }) : title;
}

/** How often a second, as the gateway writes it: `1,272`. */
const rate = (alarm) => Number(String(alarm.values?.rate ?? 0).replaceAll(',', '')) || 0;

/** The worst first; but nothing moves while somebody stands on it. */
function arrange(items) {
  const place = element('alarms-list');
  const stands = items.every((item, i) => place.children[i] === item);
  if (!stands && !place.contains(document.activeElement)) place.append(...items);
}

function write(key, group) {
  const said = language() + JSON.stringify(group);
  const entry = standing.get(key) ?? { item: make('li'), said: '' };
  if (!standing.has(key)) {
    standing.set(key, entry);
    element('alarms-list').append(entry.item);
  }
  if (entry.said === said) return;
  entry.said = said;
  // What is open stays open, and what has the focus keeps it.
  const before = entry.item.querySelector('details');
  const focused = before?.contains(document.activeElement);
  entry.item.className = `severity-${group[0].severity}`;
  entry.item.replaceChildren(...parts(group, before?.open));
  if (focused) entry.item.querySelector('summary')?.focus();
}

/** What, of which, since when and how often. */
function head(alarm, others) {
  const line = make('p', '', 'alarm');
  const title = titled(alarm);
  line.append(make('strong', label('severity', alarm.severity), 'severity'), ' ', make('span', title, 'title'));
  if (alarm.subject && !title.includes(alarm.subject)) line.append(' ', make('code', alarm.subject));
  const facts = [...when(alarm), others > 0 && t('alarm.others', { count: count(others) })].filter(Boolean);
  line.append(make('small', ` ${facts.join(' · ')}`));
  return line;
}

function when(alarm) {
  const [since, often] = [seconds(alarm.since ?? alarm.first), alarm.count && count(alarm.count)];
  return [
    since && t('alarm.since', { time: clock(since) }),
    often && alarm.window_s && t('alarm.seen', { count: often, window: span(alarm.window_s) }),
    often && !alarm.window_s && t('alarm.count', { count: often }),
    alarm.silenced && t('alarm.silenced'),
  ].filter(Boolean);
}

function parts([alarm, ...others], open) {
  const first = head(alarm, others.length);
  const steps = list(alarm.steps);
  const what = both(alarm.meaning);
  const sample = alarm.sample && (typeof alarm.sample === 'string' ? alarm.sample : told(alarm.sample));
  const values = Object.entries(alarm.values ?? {}).map(([name, value]) => `${label('value', name)}: ${value}`).join(' · ');
  if (!steps.length && !what && !sample && !values && !others.length) return [first];
  const details = make('details');
  details.open = open ?? false;
  details.append(make('summary', t(steps.length ? 'alarm.do' : 'alarm.more')));
  if (what) details.append(marked('p', what));
  if (values) details.append(make('p', values, 'quiet'));
  if (steps.length) {
    const numbered = make('ol');
    numbered.append(...steps.map((step) => marked('li', step)));
    details.append(numbered);
  }
  if (sample) details.append(make('p', t('alarm.sample')), make('pre', sample));
  if (others.length) details.append(make('p', t('alarm.also')), also(others));
  return [first, details];
}

/** The same of others: who, since when, how often. */
function also(others) {
  const all = make('ul');
  all.append(...others.map((alarm) => {
    const item = make('li', titled(alarm));
    item.append(make('small', ` ${when(alarm).join(' · ')}`));
    return item;
  }));
  return all;
}

/** Steps: texts in one language or both, or a list of texts for each. */
function list(steps) {
  const chosen = Array.isArray(steps) ? steps : steps?.[language()] ?? steps?.en ?? [];
  return (Array.isArray(chosen) ? chosen : [chosen]).map(both).filter(Boolean);
}

/** A text with `commands` in it. */
function marked(tag, text) {
  const node = make(tag);
  node.append(...text.split('`').map((part, i) => (i % 2 === 1 ? make('code', part) : part)));
  return node;
}

const told = (sample) => Object.entries(sample).filter(([, value]) => value)
  .map(([name, value]) => `${label('sample', name)}: ${value}`).join('\n');

/** Seconds since 1970, of such a number or of a time as RFC 3339 writes it. */
const seconds = (time) => (typeof time === 'string' ? Date.parse(time) / 1_000 : time);
