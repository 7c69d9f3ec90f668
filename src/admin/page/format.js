// How numbers are written. What is not known is a dash, never zero.

import { language, t } from '/words.js';

export const ABSENT = '–';
const isAbsent = (n) => n === null || n === undefined || Number.isNaN(n);
const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

// Making a formatter costs more than a thousand numbers.
const formats = new Map();

function written(n, digits) {
  const key = language() + digits;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language(), { maximumFractionDigits: digits }));
  return formats.get(key).format(n);
}

export function count(n) {
  return isAbsent(n) ? ABSENT : written(n, n < 10 ? 1 : 0);
}

export function bytes(n) {
  if (isAbsent(n)) return ABSENT;
  const unit = Math.min(BYTES.length - 1, n < 1 ? 0 : Math.floor(Math.log2(n) / 10));
  const value = n / 1024 ** unit;
  return `${written(value, unit > 0 && value < 100 ? 1 : 0)} ${BYTES[unit]}`;
}

export function percent(share) {
  return isAbsent(share) ? ABSENT : t('percent', { value: Math.round(share * 100) });
}

export const perSecond = (n) => (isAbsent(n) ? ABSENT : t('per.second', { value: count(n) }));
export const bytesPerSecond = (n) => (isAbsent(n) ? ABSENT : t('per.second', { value: bytes(n) }));

/** A short time, in seconds. */
export function latency(s) {
  if (isAbsent(s)) return ABSENT;
  const [value, unit] = s < 0.001 ? [s * 1e6, 'µs'] : s < 1 ? [s * 1000, 'ms'] : [s, t('unit.s')];
  return `${written(value, value < 10 ? 1 : 0)} ${unit}`;
}

/** A long one: two units are enough. */
export function span(seconds) {
  if (isAbsent(seconds)) return ABSENT;
  const s = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(s / 86400), 'd'], [Math.floor(s / 3600) % 24, 'h'], [Math.floor(s / 60) % 60, 'min'], [s % 60, 's']];
  const first = Math.max(0, parts.findIndex(([n]) => n > 0));
  const shown = s === 0 ? parts.slice(-1) : parts.slice(first, first + 2);
  return shown.map(([n, unit]) => `${n} ${t(`unit.${unit}`)}`).join(' ');
}

/** The time of day here, of seconds since 1970. */
export function clock(seconds, withSeconds = true) {
  if (isAbsent(seconds)) return ABSENT;
  const parts = { hour: '2-digit', minute: '2-digit', second: withSeconds ? '2-digit' : undefined, hourCycle: 'h23' };
  return new Date(seconds * 1000).toLocaleTimeString(language(), parts);
}
