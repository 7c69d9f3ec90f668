// What an operator sees and does, in a real browser before a real gateway.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Browser, ready, text } from './browser.mjs';
import { Gateway, Network, OURS, ask, canFence, client, demo, listener, origin, storm, until } from './gateway.mjs';
import { agree, everybody } from './story.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const [network, gateway, browser] = [new Network(), new Gateway(), new Browser()];
let server;
let hook;
let running = null;

before(async () => {
  await network.make();
  server = await origin();
  hook = await listener();
  await gateway.prepare([server.authority], hook.url);
  await gateway.start();
  await browser.start(gateway);
});

after(async () => {
  await running?.stop();
  await browser.end();
  await gateway.end();
  server?.server.close();
  hook?.server.close();
  network.end();
});

/** A storm of several clients that stays for the tests that want one. */
function storming() {
  running ??= storm(network, gateway, Array.from({ length: 8 }, (_, i) => client(i + 1)), 20);
  return running;
}

const good = () => ask(gateway, [`GET http://${server.authority}/ HTTP/1.1`, `Host: ${server.authority}`, 'Connection: close', '', '']
  .join('\r\n'));
/** The page hears from the gateway, in one way or the other. */
const linked = (page) => page.waitForFunction(() => ['live', 'polling'].includes(document.getElementById('link').dataset.state));
const row = (address) => `#clients-table tr:has(button:text-is("${address}"))`;

test('the figures are live', async () => {
  await browser.with({}, async (page) => {
    await linked(page);
    const total = () => page.evaluate(() => {
      const line = [...document.querySelectorAll('#traffic-table tbody tr')].find(({ cells }) => cells[0].innerText === 'requests');
      return Number(line.cells[2].innerText.replaceAll(',', ''));
    });
    const first = await total();
    assert.match(await good(), /^HTTP\/1.1 200 /);
    await until('the request is counted on the page', async () => await total() > first);
  });
});

test('the figures come as events', async () => {
  await browser.with({}, async (page, asked) => {
    const life = () => text(page, '#gateway');
    for (let before = await life(), changes = 0; changes < 4; changes += 1) {
      await until('the next second', async () => await life() !== before);
      before = await life();
    }
    const times = (path) => asked.filter((url) => new URL(url).pathname === path).length;
    assert.deepEqual([times('/api/v1/status'), times('/api/v1/events')], [1, 1], 'the first figures are asked for, and no others');
    assert.equal(await page.evaluate(() => document.getElementById('link').dataset.state), 'live');
  });
});

test('each number stands beside its limit, and a dash beside its reason', async () => {
  const status = await gateway.status();
  await browser.with({}, async (page) => {
    const limit = status.guard.limits.connections.limit.toLocaleString('en');
    assert.ok((await text(page, '#tile-connections .below')).includes(`of ${limit}`));
    for (const line of await page.locator('#kernel-table tbody tr').all()) {
      const cells = await line.locator('td').allInnerTexts();
      assert.ok(cells.some((cell) => cell !== ''), await line.innerText());
      for (const cell of await line.locator('td').all()) {
        const [shown, why] = [await cell.innerText(), await cell.getAttribute('title')];
        assert.ok(!shown.startsWith('–') || why !== '', `a dash without a reason: ${await line.innerText()}`);
      }
    }
    for (const { source } of status.kernel.absent) assert.ok((await text(page, '#absent')).includes(source), source);
  });
});

test('bytes of strangers stay text', async () => {
  const hostile = '<img/src=x/onerror=window.pwned=1><script>window.pwned=1</script>';
  const head = ['Host: "><svg/onload=window.pwned=1>', 'User-Agent: <script>window.pwned=1</script>', '', ''].join('\r\n');
  await browser.with({}, async (page) => {
    for (let i = 0; i < 5; i += 1) await ask(gateway, `GET http://${OURS}/${hostile} HTTP/1.1\r\n${head}`);
    const sample = () => page.locator('#clients-table pre').first();
    await page.locator(`${row(OURS)} button`).click();
    await sample().waitFor();
    await page.waitForFunction(() => document.querySelector('#clients-table pre').textContent.includes('<img'));
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    const made = await page.locator('main img, main script, main svg, main iframe, main style').count();
    assert.equal(made, 0, 'no element was made of it');
  });
});

test('a storm is seen within two seconds', async () => {
  await browser.with({}, async (page) => {
    await linked(page);
    const refused = async () => (await gateway.status()).traffic.refusals.self_target;
    const before = await refused();
    storming();
    // From the first refusals on: before that there is no storm.
    await until('the gateway refuses', async () => await refused() > before);
    const began = performance.now();
    await page.locator(row(client(1))).waitFor();
    const seen = performance.now() - began;
    console.log(`# the storm was on the page after ${Math.round(seen)} ms`);
    assert.ok(seen < 2_000, `${seen} ms`);
    await page.waitForFunction((address) => [...document.querySelectorAll('#clients-table tbody tr')]
      .some((line) => line.innerText.includes(address) && line.innerText.includes('stall')), client(1));
  });
});

const alone = !canFence && 'nobody can be fenced here: no network namespace may be made';

test('a client that is fenced is let in with the token, by keyboard', { skip: alone }, async () => {
  const address = client(20);
  // Above what a fence takes (100/s), below the client's rate (200/s).
  const flood = storm(network, gateway, [address], 180);
  try {
    await browser.with({}, async (page) => {
      const button = page.locator(`#fences-table button[data-address="${address}"]`);
      await button.waitFor({ timeout: 60_000 });
      assert.match(await text(page, '#fences-table'), /requests that name this proxy/);
      await flood.stop();
      await button.focus();
      await page.keyboard.press('Enter');
      await page.locator('#token-dialog').waitFor();
      // No header can carry it.
      await page.keyboard.insertText('✓');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.getElementById('release-note').textContent && document.getElementById('token-dialog').open);
      await page.keyboard.type('not the token of it');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.getElementById('release-note').textContent && document.getElementById('token-dialog').open);
      await page.keyboard.type(await gateway.token());
      await page.keyboard.press('Enter');
      await button.waitFor({ state: 'detached' });
      assert.ok((await text(page, '#release-note')).includes(address));
      const kept = await page.evaluate(() => [document.getElementById('token').value, JSON.stringify(localStorage)].join(' '));
      assert.ok(!kept.includes(await gateway.token()), 'the token is kept for the session alone');
    });
  } finally {
    await flood.stop();
  }
});

test('the demonstration is one story, whoever tells it', async () => {
  const shown = await demo(120);
  try {
    await browser.with({ url: shown.url }, async (page) => {
      const status = async () => (await fetch(`${shown.url}api/v1/status`)).json();
      await until('the guard acts, and there is an alarm', async () => {
        const { clients, alarms } = await status();
        return clients[0]?.step === 'stall' && alarms.some(({ id, values }) => id === 'self_target_storm' && values.client === clients[0].address);
      });
      agree(await everybody(page, shown.url), 1);
    });
  } finally {
    await shown.stop();
  }
});

test('a fence is one story, whoever tells it', { skip: alone }, async () => {
  const address = client(22);
  const flood = storm(network, gateway, [address], 180);
  try {
    await browser.with({}, async (page) => {
      await page.locator(`#fences-table button[data-address="${address}"]`).waitFor({ timeout: 60_000 });
      const { who, alarm } = agree(await everybody(page, gateway.url), Infinity);
      assert.equal(who, address);
      // What was sent, in both languages, is what stands.
      const message = (id) => hook.told.findLast((one) => one.alarm === id && one.values.client === address && one.stage === 'firing');
      await until('it is told', () => message('client_fenced') && message('self_target_storm'));
      const [sent, fenced] = [message('self_target_storm'), message('client_fenced')];
      assert.deepEqual([sent.severity, sent.sample.request_line], [alarm.severity, alarm.sample.request_line]);
      assert.ok(sent.count > 0 && sent.count <= alarm.count, `${sent.count} of ${alarm.count}`);
      for (const language of ['en', 'zh']) {
        const frame = (title) => title.replaceAll(/[\d,.]+/g, '#');
        assert.equal(frame(sent.title[language]), frame(alarm.title[language]));
        assert.deepEqual(sent.steps[language], alarm.steps[language]);
      }
      assert.deepEqual([fenced.values.client, fenced.values.reason], [address, 'self_target']);
    });
  } finally {
    await flood.stop();
  }
});

for (const colorScheme of ['light', 'dark']) {
  for (const locale of ['en-GB', 'zh-CN']) {
    test(`nothing is hard to read or to reach: ${colorScheme}, ${locale}`, async () => {
      storming();
      await browser.with({ colorScheme, locale }, async (page) => {
        const opener = page.locator('#clients-table .opener').first();
        await opener.click();
        await page.locator('#clients-table .detail h3').first().waitFor();
        await page.locator('#more > summary').click();
        await page.locator('#limits-table tbody tr').first().waitFor();
        assert.equal(await page.evaluate(() => document.documentElement.lang), locale === 'zh-CN' ? 'zh-CN' : 'en');
        await violations(page);
        await page.evaluate(() => document.getElementById('token-dialog').showModal());
        await violations(page);
      });
    });
  }
}

/** What the rules of accessibility say against the page as it is. */
async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations: all } = await window.axe.run(document, { resultTypes: ['violations'] });
    const told = (node) => `${node.html.slice(0, 160)} ${node.failureSummary}`;
    return all.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(told).join(' | ')}`);
  });
  assert.deepEqual(found, []);
}

test('everything is reached and used with the keyboard', async () => {
  storming();
  await browser.with({}, async (page) => {
    await page.locator('#clients-table .opener').first().waitFor();
    const all = await page.evaluate(() => [...document.querySelectorAll('a, button, select, summary, input')]
      .filter((node) => node.checkVisibility() && !node.disabled && !node.closest('dialog, tbody')).map((node) => node.outerHTML));
    const [met, blind] = [new Set(), []];
    let openers = 0;
    // One round, and no more than everything there is.
    for (let stop = 0; stop < 400; stop += 1) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const node = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(node);
        const shown = outlineStyle !== 'none' && outlineWidth !== '0px';
        return { html: node.outerHTML, name: node.tagName, opener: node.classList.contains('opener'), shown };
      });
      if (at.name === 'BODY' || (at.html.includes('class="skip"') && stop > 0)) break;
      if (!at.shown) blind.push(at.html.slice(0, 80));
      if (at.opener) openers += 1;
      met.add(at.html);
    }
    const strip = (html) => html.replace(/ title="[^"]*"/g, '');
    const known = new Set([...met].map(strip));
    assert.deepEqual(all.map(strip).filter((html) => !known.has(html)), [], 'all that can be used is reached');
    assert.deepEqual(blind, [], 'where one stands can be seen');
    assert.ok(openers > 0);

    const sorter = page.locator('#clients-table thead th').nth(8).locator('button');
    await sorter.focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('#clients-table thead th').nth(8).getAttribute('aria-sort'), 'descending');
    const opener = page.locator('#clients-table .opener').first();
    await opener.focus();
    await page.keyboard.press('Space');
    assert.equal(await opener.getAttribute('aria-expanded'), 'true');
    const address = await opener.textContent();
    // New figures come; who stands on a row stays on it.
    const before = await page.locator('#gateway').innerText();
    await page.waitForFunction((old) => document.getElementById('gateway').innerText !== old, before);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), address);
  });
});

test('a phone shows everything without sideways scrolling', async () => {
  storming();
  for (const locale of ['en-GB', 'zh-CN']) {
    await browser.with({ viewport: { width: 320, height: 640 }, locale, hasTouch: true, isMobile: true }, async (page) => {
      await page.locator('#clients-table .opener').first().click();
      await page.locator('#more > summary').click();
      await page.locator('#limits-table tbody tr').first().waitFor();
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 320, `${locale}: ${width} px`);
    });
  }
});

test('language and theme are chosen and kept', async () => {
  await browser.with({ colorScheme: 'light' }, async (page) => {
    const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await back();
    await page.locator('#language').click();
    await page.locator('#theme').selectOption('dark');
    assert.equal(await text(page, '#clients-title'), '客户端');
    const dark = await back();
    assert.notEqual(dark, light);
    await page.reload();
    await ready(page);
    assert.equal(await text(page, '#clients-title'), '客户端');
    assert.equal(await back(), dark);
    const latin = await page.evaluate(() => [...document.querySelectorAll('h2, h3, dt, thead th')].map((node) => node.textContent)
      .filter((told) => /[a-z]{4}/.test(told)));
    assert.deepEqual(latin, [], 'every heading is translated');
  });
});

test('a reload loses nothing', async (t) => {
  const { ok } = await fetch(`${gateway.url}api/v1/history`);
  if (!ok && process.env.CI !== 'true') return t.skip('this gateway remembers nothing');
  await browser.with({}, async (page) => {
    const known = () => page.evaluate(() => Number(document.querySelector('.chart').dataset.known));
    await until('a quarter of a minute is known', async () => (await known()) >= 15);
    const before = await known();
    await page.reload();
    await ready(page);
    // Sooner than as much could have come anew.
    const enough = (least) => Number(document.querySelector('.chart').dataset.known) >= least;
    await page.waitForFunction(enough, before, { timeout: 8_000 });
  });
  return undefined;
});

test('what is remembered and what arrives are one curve', async () => {
  await browser.with({}, async (page) => {
    const known = await page.evaluate(async () => {
      const { Past } = await import('/past.js');
      const past = new Past();
      [[1_000, 1], [1_001, 2], [1_004, 5], [1_010, 6]].forEach(([second, a]) => past.add(second, { a, b: null }));
      past.merge({ end: 1_003, columns: { a: [7, null, 9] } });
      const seen = { end: past.end, a: past.get('a').slice(-12), b: past.get('b').every((value) => value === null), length: past.times().length };
      // A clock that is set back has no future.
      past.add(500, { a: 9 });
      return { ...seen, back: [past.end, ...past.get('a').slice(-2)] };
    });
    const a = [null, 1, 7, 5, 9, 5, null, null, null, null, null, 6];
    assert.deepEqual(known, { end: 1_010, a, b: true, length: 900, back: [500, null, 9] });
  });
});

test('an alarm says since when, how often and what to do, and what a stranger sent in it stays text', async () => {
  const hostile = '<img/src=x/onerror=window.pwned=1>';
  const alarm = {
    alarm: 'self_target_storm', severity: 'critical', subject: hostile, since: '2026-11-21T12:00:00+00:00', count: 1_272, window_s: 300,
    title: { en: `${hostile} storms`, zh: '风暴' }, meaning: { en: 'It asks for `this box`.', zh: '…' },
    steps: { en: ['`ss -s`', hostile], zh: ['一'] }, sample: { client: '10.0.0.1', upstream: null, request_line: hostile, answer: '' },
  };
  const other = { ...alarm, alarm: 'orphans', severity: 'warning', subject: '', title: { en: 'Orphans', zh: '…' } };
  await browser.with({}, async (page) => {
    // Beside the page's own: its next status takes them away.
    const seen = await page.evaluate(async (all) => {
      const { alarms } = await import('/alarms.js');
      alarms({ alarms: [...all, { ...all[1], subject: '10.0.0.9', count: 7 }] });
      const list = document.getElementById('alarms-list');
      const items = [...list.children].map((item) => item.querySelector('.title').textContent);
      const made = list.querySelectorAll('img, script').length;
      const [text, steps] = [list.children[0].textContent, list.children[0].querySelectorAll('ol > li').length];
      alarms({ alarms: [] });
      return { items, made, text, steps, left: list.children.length, code: window.pwned };
    }, [other, alarm]);
    assert.deepEqual(seen.items, [`${hostile} storms`, 'Orphans'], 'the worst first');
    assert.deepEqual([seen.made, seen.steps, seen.left, seen.code], [0, 2, 0, undefined]);
    for (const part of ['critical', '1,272 times in 5 min', 'since ', 'It asks for this box.', `request: ${hostile}`, 'and 1 more', '7 times']) {
      assert.ok(seen.text.includes(part), `${part} in ${seen.text}`);
    }
  });
});

test('where events do not arrive, the gateway is asked', async () => {
  await browser.with({}, async (page) => {
    // As a proxy does that takes no streams.
    await page.route('**/api/v1/events', (route) => route.abort());
    await page.reload();
    await page.waitForFunction(() => document.getElementById('link').dataset.state === 'polling');
    const life = await text(page, '#gateway');
    await page.waitForFunction((old) => document.getElementById('gateway').innerText !== old, life);
  });
});

test('it finds the gateway again after a restart, and says meanwhile that the figures are old', async () => {
  await browser.with({}, async (page) => {
    await linked(page);
    await running?.stop();
    running = null;
    await gateway.stop();
    await page.waitForFunction(() => document.getElementById('link').dataset.state === 'lost');
    assert.match(await text(page, '#link'), /reconnecting since \d\d:\d\d:\d\d/);
    assert.ok(await page.evaluate(() => document.body.classList.contains('stale')));
    await gateway.start();
    await linked(page);
    assert.ok(!await page.evaluate(() => document.body.classList.contains('stale')));
    await page.waitForFunction(() => /\b[0-9] s/.test(document.getElementById('gateway').innerText));
  });
});

test('another version of the gateway brings its page with it, and two that take turns are not followed', async () => {
  await browser.with({}, async (page) => {
    let [versions, loads] = [0, 0];
    await page.route('**/api/v1/events', (route) => route.abort());
    await page.route('**/api/v1/status', async (route) => {
      const answer = await route.fetch();
      const status = await answer.json();
      versions += 1;
      status.gateway.version = `9.${versions}`;
      await route.fulfill({ json: status });
    });
    page.on('load', () => { loads += 1; });
    await page.reload();
    await until('it is loaded anew', () => loads === 2);
    const before = versions;
    await until('there are more versions', () => versions >= before + 4);
    assert.equal(loads, 2);
  });
});

const folder = process.env.FLOODGATE_PICTURES;

test('pictures for the documents', { skip: !folder && 'tests/page/run --pictures makes them' }, async () => {
  const quiet = setInterval(() => Promise.all([good(), good(), good()]).catch(() => {}), 100);
  const flood = storm(network, gateway, [client(21)], 180);
  storming();
  try {
    await browser.with({ colorScheme: 'light' }, async (page) => {
      if (canFence) await page.locator('#fences-table tbody tr').first().waitFor({ timeout: 60_000 });
      const known = () => page.evaluate(() => Number(document.querySelector('.chart').dataset.known));
      await until('a minute and a half is known', async () => await known() >= 90);
      await page.locator('#clients-table .opener').first().click();
      await page.locator('#clients-table .detail h3').first().waitFor();
      await page.mouse.move(0, 0);
      await page.screenshot({ path: join(folder, 'dashboard-light.png'), fullPage: true });
    });
    await browser.with({ colorScheme: 'dark', locale: 'zh-CN' }, async (page) => {
      await page.screenshot({ path: join(folder, 'dashboard-dark.png'), fullPage: true });
    });
    await browser.with({ viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true }, async (page) => {
      await page.screenshot({ path: join(folder, 'dashboard-phone.png') });
    });
  } finally {
    clearInterval(quiet);
    await flood.stop();
  }
});
