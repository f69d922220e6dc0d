// The program, the browser, and what both are asked again and again.

import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const require = createRequire(join(process.env.TIDEGATE_MODULES, 'of.cjs'));
const { chromium } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const CONFIG = `
[hub.flights]
partitions = 4

[function.positions]
hub = "flights"
kind = "rust"
order = "key"
max_event_batch_size = 100
max_wait_time = "20ms"
retry = { strategy = "exponential", max_attempts = 3, min_interval = "20ms", max_interval = "100ms" }
on_exhausted = "hold"
circuit = { threshold = 20, window = "30s", probe = "manual" }
`;

// A hub of somebody else where nobody listens, and somebody to tell who does not listen either.
export const NOBODY_LISTENS = `
[source.yard]
kind = "event-hubs"
connection_string = "Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=reader;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true"
hub = "yard"

[webhook.chat]
url = "http://127.0.0.1:9/chat"
`;

// The program with its function, and a directory of its own.
export class Program {
  static async start(more = '') {
    const program = new Program();
    program.directory = mkdtempSync(join(tmpdir(), 'tidegate-browser-'));
    program.away = join(program.directory, 'away');
    writeFileSync(join(program.directory, 'tidegate.toml'), CONFIG + more);
    await program.run();
    return program;
  }

  async run() {
    const words = ['run', '--json', '--http', '127.0.0.1:0', '--config', 'tidegate.toml', '--data-dir', 'data'];
    this.process = spawn(process.env.TIDEGATE_PROGRAM, words, {
      cwd: this.directory,
      env: this.environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let errors = '';
    this.process.stderr.on('data', (data) => { errors = (errors + data).slice(-20_000); });
    this.errors = () => errors;
    const ended = new Promise((_, reject) => {
      this.process.once('exit', (code) => reject(new Error(`the program ended with ${code}: ${errors}`)));
    });
    const line = new Promise((resolve) => createInterface(this.process.stdout).once('line', resolve));
    this.started = JSON.parse(await Promise.race([line, ended]));
    ended.catch(() => {});
    this.url = this.started.http;
    const keys = JSON.parse(readFileSync(join(this.directory, 'data', 'keys.json'), 'utf8'));
    this.key = keys.keys[0].key;
  }

  environment() {
    return { ...process.env, TIDEGATE_TEST_AWAY_FILE: this.away, TIDEGATE_LOG: 'info' };
  }

  // A command of the program, against the running server; what it prints.
  command(...words) {
    const ended = spawnSync(process.env.TIDEGATE_PROGRAM, [...words, '--data-dir', 'data'], {
      cwd: this.directory,
      env: this.environment(),
      encoding: 'utf8',
    });
    if (ended.status !== 0) throw new Error(`tidegate ${words.join(' ')}: ${ended.status}: ${ended.stderr}`);
    return ended.stdout;
  }

  // A token for a person with a role.
  token(name, role) {
    const made = JSON.parse(this.command('tokens', 'create', name, '--role', role, '--json'));
    return made.token;
  }

  async publish(...bodies) {
    for (const { key, body } of bodies) {
      const answer = await fetch(`${this.url}/flights/messages`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.key}`,
          'content-type': 'application/json',
          BrokerProperties: JSON.stringify({ PartitionKey: key }),
        },
        body,
      });
      if (!answer.ok) throw new Error(`publishing: ${answer.status} ${await answer.text()}`);
    }
  }

  // What the API says.
  async api(path) {
    const headers = { authorization: `Bearer ${this.key}`, accept: 'application/json' };
    const answer = await fetch(`${this.url}${path}`, { headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  // Waits until the API says so.
  async until(path, holds) {
    const deadline = AbortSignal.timeout(60_000);
    for (;;) {
      const answer = await this.api(path);
      if (holds(answer)) return answer;
      if (deadline.aborted) throw new Error(`${path} stayed ${JSON.stringify(answer).slice(0, 2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  goesAway() { writeFileSync(this.away, ''); }

  returns() { unlinkSync(this.away); }

  async stop() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function report(id, n = 0) {
  const body = { id, latitude: 47 + n / 100, longitude: 8 + n / 50, altitude: 30_000 + n };
  return { key: id, body: JSON.stringify(body) };
}

export function reports(from, to) {
  return Array.from({ length: to - from }, (_, index) => report(`4b${(from + index).toString(16).padStart(4, '0')}`, index));
}

export function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}

// A page whose every answer is watched: nothing is fetched from elsewhere, nothing breaks the content security policy,
// nothing fails on the server.
export async function visitor(browser, program, options = {}) {
  const context = await browser.newContext({ baseURL: program.url, viewport: { width: 1440, height: 1000 }, ...options });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const wrong = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(program.url) && !request.url().startsWith('data:')) wrong.push(`asks for ${request.url()}`);
  });
  page.on('response', (answer) => {
    if (answer.status() >= 500) wrong.push(`${answer.status()} for ${answer.url()}`);
  });
  page.on('pageerror', (error) => wrong.push(`script: ${error}`));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) wrong.push(message.text());
  });
  return {
    page,
    async close() {
      await context.close();
      if (wrong.length > 0) throw new Error(wrong.join('\n'));
    },
  };
}

export async function signIn(page, token) {
  await page.goto('/sign-in');
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.waitForURL((url) => url.pathname !== '/sign-in');
}

// What axe finds wrong on the page as it is.
export async function accessible(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.slice(0, 3).map((node) => node.html).join('\n  ')}`);
  if (told.length > 0) throw new Error(`${new URL(page.url()).pathname}:\n${told.join('\n')}`);
}

// Nothing is wider than the window.
export async function fits(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  if (content > window) throw new Error(`${page.url()} is ${content} wide in a window of ${window}`);
}

export async function picture(page, name) {
  await page.screenshot({ path: join(process.env.TIDEGATE_PICTURES, `${name}.png`) });
}
