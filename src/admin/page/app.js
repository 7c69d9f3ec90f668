// The page: what arrives is remembered, and drawn once a frame; what the operator chooses is kept in his browser.

import { alarms } from '/alarms.js';
import { Charts } from '/charts.js';
import { Clients } from '/clients.js';
import { Fences } from '/fences.js';
import { clock, span } from '/format.js';
import { fetched, follow } from '/live.js';
import { Panels, absences, tiles, verdict } from '/panels.js';
import { Past, values } from '/past.js';
import { LANGUAGES, language, preferred, speak, t } from '/words.js';

/** What a status does not say of its second comes with the gateway's memory of the last 15 minutes, asked for this often, in s. */
const REMEMBER = 5;
/** When this page was last loaded anew for another version of the gateway, and how long it then stays, in s. */
const RENEWED = 'floodgate.renewed';
const RENEW = 60;
const element = (id) => document.getElementById(id);
const root = document.documentElement;

const past = new Past();
let status = null;
let before = null;
let arrivedAt = 0;
let link = 'start';
/** The gateway's clock against this one, in seconds: an appliance's may be wrong, and its times are told in it. */
let skew = 0;
/** When the gateway's memory was last asked for, here; and up to which second we have it, there. */
let asked = 0;
let remembered = null;
let drawing = false;

const here = () => Date.now() / 1000;
const now = () => here() + skew;

// -- what the operator chooses

function stored(name) {
  try {
    return localStorage.getItem(`floodgate.${name}`);
  } catch {
    return null;
  }
}

function store(name, value) {
  try {
    localStorage.setItem(`floodgate.${name}`, value);
  } catch {
    // A browser that keeps nothing follows the system each time.
  }
}

function dress(theme) {
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  else delete root.dataset.theme;
  element('theme').value = root.dataset.theme ?? 'auto';
}

dress(stored('theme'));
speak(LANGUAGES.includes(stored('language')) ? stored('language') : preferred(navigator.languages));

const charts = new Charts(element('charts'));
const panels = new Panels();
const clients = new Clients(element('clients-table'), now);
const fences = new Fences(now);

function name() {
  root.lang = language() === 'zh' ? 'zh-CN' : 'en';
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-label]')) node.setAttribute('aria-label', t(node.dataset.label));
  const [other, button] = [language() === 'zh' ? 'en' : 'zh', element('language')];
  button.textContent = other === 'zh' ? '中文' : 'English';
  button.lang = other === 'zh' ? 'zh-CN' : 'en';
  [charts, panels, clients, fences].forEach((part) => part.name());
  tellLink();
}

element('language').addEventListener('click', () => {
  speak(language() === 'zh' ? 'en' : 'zh');
  store('language', language());
  name();
  draw();
});

element('theme').addEventListener('change', (event) => {
  dress(event.target.value);
  store('theme', event.target.value);
  charts.recolour();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.recolour());
element('more').addEventListener('toggle', () => draw());

// What does not fit is scrolled to, also with the keyboard; what fits is no stop on its way.
const fitting = new ResizeObserver((sizes) => {
  for (const place of new Set(sizes.map(({ target }) => target.closest('.scroll')))) {
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
    else place.removeAttribute('tabindex');
  }
});
for (const part of document.querySelectorAll('.scroll, .scroll > table')) fitting.observe(part);

// -- what arrives

async function remember() {
  asked = here();
  const memory = await fetched(`/api/v1/history${remembered === null ? '' : `?since=${remembered}`}`);
  if (!memory?.columns || !Number.isFinite(memory.end)) return;
  remembered = Math.floor(memory.end);
  skew = memory.end - here();
  // A second or two are the way and the rounding, not the clock.
  if (Math.abs(skew) < 2) skew = 0;
  past.merge({ end: remembered, columns: memory.columns });
  draw();
}

/** A gateway of another version has a page of its own, which loses nothing; but two that take turns are not followed. */
function renewed(fresh) {
  if (!status || status.gateway.version === fresh.gateway.version || document.querySelector('dialog[open]')) return false;
  if (here() - Number(sessionStorage.getItem(RENEWED)) < RENEW) return false;
  sessionStorage.setItem(RENEWED, here());
  location.reload();
  return true;
}

function arrived(fresh) {
  if (renewed(fresh)) return;
  const at = here();
  [before, status] = [status, fresh];
  past.add(Math.floor(now()), values(fresh, before, at - arrivedAt));
  arrivedAt = at;
  if (at - asked > REMEMBER) remember();
  // Also while nothing is drawn: a tab in the background has its title.
  document.title = `${t(`level.${status.pressure.level}`)} – ${status.gateway.name}`;
  draw();
}

function changed(state) {
  link = state;
  // What was missed meanwhile is asked for with the next status.
  asked = 0;
  tellLink();
}

function tellLink() {
  const place = element('link');
  place.dataset.state = link;
  place.textContent = t(`link.${link}`, { time: arrivedAt ? clock(arrivedAt) : clock(here()) });
  document.body.classList.toggle('stale', link === 'lost' || link === 'denied');
}

// -- what is drawn

function draw() {
  if (drawing || !status) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    paintAll();
  });
}

function paintAll() {
  const { gateway } = status;
  const listeners = gateway.listeners.join(', ');
  const life = gateway.draining ? t('draining') : t('uptime', { time: span(gateway.uptime_s) });
  element('gateway').textContent = `${gateway.version} · ${listeners} · ${life}`;
  verdict(status);
  tiles(status, past);
  alarms(status);
  fences.show(status);
  charts.show(past, status);
  clients.show(status);
  panels.show(status, past);
  absences(status);
  document.body.dataset.ready = 'yes';
}

name();
follow({ arrived, changed });
