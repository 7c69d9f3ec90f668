// The same moment as everybody tells it: the status, the page, doctor, the alarm, the metrics. What grows meanwhile is between two
// statuses, one asked for before and one after all the others.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from './browser.mjs';
import { until } from './gateway.mjs';

const json = async (url) => (await fetch(url)).json();
/** `1,812`, `1,812/s`, `level 1`: the number in it. */
const number = (told) => Number(/[\d.,]+/.exec(told)[0].replaceAll(',', ''));

async function doctor(admin) {
  const child = spawn(process.env.FLOODGATE, ['doctor', '--json', '--admin', admin], { stdio: ['ignore', 'pipe', 'inherit'] });
  let told = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) told += chunk;
  return JSON.parse(told);
}

/** Of the metrics: the sum of all that begin so. */
const sum = (metrics, start) => metrics.split('\n').filter((line) => line.startsWith(start))
  .reduce((all, line) => all + Number(line.split(' ').at(-1)), 0);

/** What the page shows, read in one go between two of its frames. */
const shown = (page) => page.evaluate(() => {
  const told = (selector) => document.querySelector(selector)?.innerText ?? '';
  const cells = (line) => [...line.cells].map((cell) => cell.innerText.trim());
  const refused = [...document.querySelectorAll('#traffic-table tbody tr')].map(cells).find(([name]) => name === 'refused');
  return {
    level: told('#level'), trouble: told('#trouble'), worst: cells(document.querySelector('#clients-table tbody tr')),
    refused: refused[2], fenced: told('#tile-fenced .value'), fences: [...document.querySelectorAll('#fences-table tbody th')]
      .map((cell) => cell.innerText), alarms: told('#alarms-list'), count: told('#alarms-note'),
  };
});

/** The levels of pressure, as each of them tells it. */
const levels = ({ before, after, page, metrics, doctor: diagnosis }) => [
  before.pressure.level, after.pressure.level, number(/level \d/.exec(page.level)[0]), sum(metrics, 'floodgate_pressure_level '),
  number(/level \d/.exec(JSON.stringify(diagnosis.steps.find((one) => one.step === 'clients').evidence))[0]),
];

/** Everybody's account of now: of a moment in which the pressure did not change, if there is one. */
export async function everybody(page, url) {
  let told = await all(page, url);
  for (let attempt = 0; attempt < 5 && new Set(levels(told)).size > 1; attempt += 1) told = await all(page, url);
  return told;
}

async function all(page, url) {
  const life = () => text(page, '#gateway');
  const before = await json(`${url}api/v1/status`);
  // What the page shows is from after that: with the second event from now on.
  for (let changes = 0, seen = await life(); changes < 2; changes += 1) {
    await until('the next second', async () => await life() !== seen);
    seen = await life();
  }
  const [told, metrics, diagnosis] = [
    await shown(page), await (await fetch(`${url}metrics`)).text(), await doctor(url),
  ];
  return { before, after: await json(`${url}api/v1/status`), page: told, metrics, doctor: diagnosis };
}

/** That it is one story: who, what, how often, how bad, who is kept out. `storms`: how many there have been. */
export function agree({ before, after, page, metrics, doctor: diagnosis }, storms) {
  const [first, last] = [before, after].map(({ clients }) => clients[0]);
  const who = first.address;
  assert.equal(last.address, who, 'who is worst stays so meanwhile');
  const within = (what, n, low, high) => assert.ok(low <= n && n <= high, `${what}: ${n} is not from ${low} to ${high}`);
  const both = (what, n, read) => {
    const [one, other] = [read(before), read(after)];
    within(what, n, Math.min(one, other), Math.max(one, other));
  };

  // Who, and what it does.
  assert.equal(page.worst[0], who, 'the page lists it first');
  assert.ok(page.trouble.startsWith(`${who}: `), `the page names it first: ${page.trouble}`);
  const cause = diagnosis.cause.find((one) => one.client === who);
  assert.equal(cause?.cause, 'self_target', JSON.stringify(diagnosis.cause));
  assert.deepEqual([first.outcome, cause.request], ['self_target', first.sample]);
  assert.match(page.worst.at(-1), /requests that name this proxy/);

  // How often: of all clients, and of this one.
  const every = ({ traffic }) => Object.values(traffic.refusals).reduce((a, b) => a + b, 0);
  const itself = ({ traffic }) => traffic.refusals.self_target;
  both('refusals on the page', number(page.refused), every);
  both('refusals in the metrics', sum(metrics, 'floodgate_refusals_total{'), every);
  both('of these self-target', sum(metrics, 'floodgate_refusals_total{reason="self_target"'), itself);
  const step = diagnosis.steps.find((one) => one.step === 'clients').evidence;
  const line = step.find((evidence) => evidence.startsWith(`${who}: `));
  // A sliding minute both falls and rises between the readings.
  const minute = [first, last].map((row) => row.refusals_per_minute);
  const [low, high] = [Math.min(...minute) * 0.9 - 1, Math.max(...minute) * 1.1 + 1];
  within('of its minute, on the page', number(page.worst[7]), low, high);
  within('of its minute, to doctor', number(/([\d,]+) refused\/min/.exec(line)[1]), low, high);
  within('of its minute, to doctor as the cause', number(/([\d,]+) such requests a minute/.exec(cause.evidence.join('; '))[1]), low, high);

  // How bad, and who is kept out.
  const gateway = step.find((evidence) => evidence.startsWith('floodgate '));
  const told = levels({ before, after, page, metrics, doctor: diagnosis });
  assert.deepEqual(told, told.map(() => told[0]), 'the level before and after, on the page, in the metrics, to doctor');
  const fences = (status) => status.fences.map(({ address }) => address);
  assert.deepEqual(fences(after), fences(before), 'the fences stay so meanwhile');
  assert.deepEqual(page.fences, fences(before));
  const kept = [number(page.fenced), sum(metrics, 'floodgate_fences_active '), number(/[\d,]+ clients? fenced/.exec(gateway)[0])];
  assert.deepEqual(kept, kept.map(() => before.fences.length), 'fenced: on the page, in the metrics, to doctor');

  // The alarm of it, which is of all clients and names the worst.
  const of = ({ alarms }) => alarms.find((one) => one.id === 'self_target_storm' && one.values.client === who);
  const [begun, gone] = [before, after].map(of);
  assert.ok(begun && gone, `there is an alarm of ${who}`);
  const telling = new RegExp(`${who.replaceAll('.', '\\.')}(?: \\(and [\\d,]+ more\\))? asks the proxy for the proxy itself, [\\d.,]+ times a second[^]*?· ([\\d,]+) times`);
  assert.match(page.alarms, telling);
  within('the alarm on the page', number(telling.exec(page.alarms)[1]), begun.count, gone.count);
  assert.equal(begun.sample.request_line, first.sample);
  // Not more than was refused, and all of it if that is one storm; it has been counted a second ago at most.
  for (const [alarm, status] of [[begun, before], [gone, after]]) {
    within('the alarm against what was refused', alarm.count, itself(status) * (storms === 1 ? 0.8 : 0), itself(status));
  }
  const stormers = before.clients.filter(({ refusals }) => refusals.self_target > 0).length;
  within('clients of the alarm', Number(begun.values.clients ?? 1), storms === 1 ? stormers : 1, stormers);
  both('alarms on the page', number(page.count), ({ alarms }) => alarms.length);
  both('alarms in the metrics', sum(metrics, 'floodgate_alarms_firing{'), ({ alarms }) => alarms.length);
  return { who, alarm: gone };
}
