// A browser that asks nobody but the gateway, and says so if a page makes it.

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-default-apps', '--disable-extensions',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];

/** What a browser says of an answer that is no success. Which ones may be is judged by their address. */
const LOUD = /^Failed to load resource/;
/** What an older gateway does not have, or has nothing to say of. */
const MAY_FAIL = /\/api\/v1\/(history|events|clients\/|fences\/release)/;

export class Browser {
  #browser;
  #gateway;

  async start(gateway) {
    this.#gateway = gateway;
    this.#browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
  }

  async end() {
    await this.#browser?.close();
  }

  /** Runs `test(page, asked)` on the status page, and holds what it did against the rules of every page. */
  async with({ url: home = this.#gateway.url, ...options }, test) {
    const context = await this.#browser.newContext({ locale: 'en-GB', viewport: { width: 1440, height: 900 }, ...options });
    try {
      const page = await context.newPage();
      const [asked, complaints] = [[], []];
      page.on('request', (request) => asked.push(request.url()));
      page.on('pageerror', (error) => complaints.push(error.stack));
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type()) && !LOUD.test(message.text())) complaints.push(message.text());
      });
      page.on('response', (answer) => {
        if (answer.status() >= 400 && !MAY_FAIL.test(answer.url())) complaints.push(`${answer.status()} ${answer.url()}`);
      });
      await page.goto(home);
      await ready(page);
      await test(page, asked);
      assert.deepEqual(asked.filter((url) => !url.startsWith(home)), [], 'everything is asked of the gateway');
      assert.deepEqual(complaints, [], 'the console is silent');
    } finally {
      await context.close();
    }
  }
}

export const ready = (page) => page.waitForFunction(() => document.body.dataset.ready === 'yes');
export const text = (page, selector) => page.locator(selector).first().innerText();
