// Drives a headless Chromium: each POST is one step in one of its windows, answered when it is done.
//
// Usage: node driver.mjs PORT CHROMIUM. Certificates are not checked: whose they are is not what is shown
// with a browser, and cookies, origins and policies count as always.

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { chromium } from 'playwright-core';

const [port, executablePath] = process.argv.slice(2);
const TIMEOUT = 20_000;

const browser = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    // Browsers refuse this one (Fetch, "bad port"); it is as good as any other for what the testbed starts.
    '--explicitly-allowed-ports=10080',
  ],
});

// People by name: each has cookies of their own, and one page.
const people = new Map();

async function pageOf(person) {
  if (!people.has(person)) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    context.setDefaultTimeout(TIMEOUT);
    const page = await context.newPage();
    const seen = { page, context, complaints: [] };
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) seen.complaints.push(message.text());
    });
    page.on('pageerror', (error) => seen.complaints.push(String(error)));
    people.set(person, seen);
  }
  return people.get(person);
}

const steps = {
  goto: async ({ page }, { url }) => {
    await page.goto(url, { waitUntil: 'load' });
    return page.url();
  },
  fill: ({ page }, { selector, value }) => page.fill(selector, value),
  click: ({ page }, { selector }) => page.click(selector),
  // The text of what can be seen, as soon as it can.
  text: async ({ page }, { selector }) => {
    const found = page.locator(selector).first();
    await found.waitFor({ state: 'visible' });
    return (await found.innerText()).trim();
  },
  arrive: async ({ page }, { url }) => {
    await page.waitForURL((at) => at.href.startsWith(url));
    return page.url();
  },
  url: ({ page }) => page.url(),
  // What a script of the page can do: the value of an expression.
  run: ({ page }, { script }) => page.evaluate(script),
  cookies: ({ context }) => context.cookies(),
  complaints: ({ complaints }) => complaints,
  leave: async ({ context }, { person }) => {
    people.delete(person);
    await context.close();
  },
};

const server = createServer(async (request, response) => {
  try {
    const step = JSON.parse(await text(request));
    const said = await steps[step.step](await pageOf(step.person), step);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ said: said ?? null }));
  } catch (error) {
    response.writeHead(500, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: String(error.message ?? error) }));
  }
});
server.listen(Number(port), '127.0.0.1');

process.on('SIGTERM', async () => {
  await browser.close();
  process.exit(0);
});
