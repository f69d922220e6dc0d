// What an operator does with the console, from first look to last.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { NOBODY_LISTENS, Program, accessible, browser, fits, picture, report, reports, signIn, visitor } from './support.mjs';

let program;
let chromium;
let operator;
let reader;

before(async () => {
  program = await Program.start();
  chromium = await browser();
  operator = program.token('ada', 'operator');
  reader = program.token('ben', 'reader');
});

after(async () => {
  await chromium?.close();
  await program?.stop();
});

// Runs `act` with a page, and takes a picture of it when it fails.
async function visiting(name, options, act, at = program) {
  const visit = await visitor(chromium, at, options);
  try {
    await act(visit.page);
  } catch (error) {
    await picture(visit.page, `failed-${name}`).catch(() => {});
    await visit.close().catch(() => {});
    throw error;
  }
  await visit.close();
}

const settled = (overview) => overview.functions[0].lag_events === 0;

describe('the console', { concurrency: false }, () => {
  test('says that all is well, and shows the flow as it changes', async () => {
    await program.publish(...reports(0, 50));
    await program.until('/api/v1/overview', settled);
    await visiting('overview', {}, async (page) => {
      await page.goto('/');
      const flow = page.locator('#flow');
      await flow.getByText('flights', { exact: true }).first().waitFor();
      await flow.getByText('positions', { exact: true }).first().waitFor();
      await flow.getByText('50', { exact: true }).first().waitFor();
      // Without another request of the person, the page follows.
      await program.publish(...reports(50, 73));
      await flow.getByText('73', { exact: true }).first().waitFor();
      await accessible(page);
      await picture(page, 'overview');
    });
  });

  test('charts tell their values to the mouse, the keys and the ears', async () => {
    await visiting('charts', {}, async (page) => {
      await page.goto('/');
      const chart = page.locator('figure.chart', { hasText: 'in and out' });
      const picture = chart.locator('svg');
      const when = chart.locator('.when');
      assert.equal(await when.textContent(), '');
      await picture.hover();
      assert.match(await when.textContent(), /ago/);
      await page.mouse.move(0, 0);
      assert.equal(await when.textContent(), '');
      await picture.focus();
      await page.keyboard.press('End');
      await page.keyboard.press('ArrowLeft');
      const said = await page.locator('#said').textContent();
      assert.match(said, /ago: incoming [\d.\u202f–]+.*, processed .*, failed /);
      await accessible(page);
      await chart.getByRole('link', { name: /table/ }).click();
      await page.getByRole('heading', { name: 'Measured values' }).waitFor();
      await page.getByRole('columnheader', { name: /processed/ }).waitFor();
      await accessible(page);
      await fits(page);
    });
  });

  test('is read on a phone, in the dark and in the light', async () => {
    for (const colorScheme of ['dark', 'light']) {
      await visiting(`phone-${colorScheme}`, { colorScheme, viewport: { width: 360, height: 780 } }, async (page) => {
        for (const path of ['/', '/hubs', '/hubs/flights', '/functions', '/documents', '/dead-letters', '/circuits', '/settings']) {
          await page.goto(path);
          await page.getByRole('heading', { level: 1 }).waitFor();
          await fits(page);
          await accessible(page);
        }
        await page.goto('/');
        await picture(page, `phone-${colorScheme}`);
      });
    }
  });

  test('every page is accessible in both themes', async () => {
    for (const colorScheme of ['dark', 'light']) {
      await visiting(`pages-${colorScheme}`, { colorScheme }, async (page) => {
        await page.goto('/');
        const links = await page.locator('nav a[href^="/"]').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
        assert.ok(links.length > 8, `pages in the navigation: ${links}`);
        for (const path of links) {
          await page.goto(path);
          await page.getByRole('heading', { level: 1 }).waitFor();
          await accessible(page);
          await fits(page);
        }
      });
    }
  });

  test('traces one event to what became of it', async () => {
    const { items } = await program.api('/api/v1/hubs/flights/events?partition=0&limit=1');
    const [event] = items;
    await visiting('trace', {}, async (page) => {
      await page.goto(`/trace?hub=flights&partition=0&sequence_number=${event.sequence_number}`);
      await page.getByText('applied').first().waitFor();
      await page.getByText(event.partition_key).first().waitFor();
      await accessible(page);
      await picture(page, 'trace');
    });
  });

  test('a dead letter is found by its cause, edited and redriven', async () => {
    await program.publish({ key: 'lost1', body: '{"id": "lost1", "latitude": 47, "longitude": 8, "altitude": "high"}' });
    await program.until('/api/v1/dead-letters', ({ items }) => items.length === 1);
    await visiting('dead-letter', {}, async (page) => {
      await signIn(page, operator);
      await page.goto('/');
      await page.goto('/dead-letters');
      await page.getByRole('link', { name: /invalid type/ }).first().click();
      await accessible(page);
      await picture(page, 'dead-letters');
      await page.getByRole('main').getByRole('link', { name: /^#?1$|lost1/ }).first().click();
      await page.getByRole('heading', { level: 1 }).waitFor();
      await accessible(page);
      await picture(page, 'dead-letter');
      await page.getByRole('link', { name: 'Edit' }).click();
      await page.getByLabel('Body').fill('{"id": "lost1", "latitude": 47, "longitude": 8, "altitude": 31000}');
      await page.getByRole('button', { name: 'Check with the function' }).click();
      await page.getByText('31000').first().waitFor();
      await page.getByLabel('Reason').first().fill('the altitude was a word');
      await accessible(page);
      await picture(page, 'dead-letter-edited');
      await page.setViewportSize({ width: 360, height: 780 });
      await fits(page);
      await page.setViewportSize({ width: 1440, height: 1000 });
      await page.getByRole('button', { name: 'Save and redrive' }).click();
      await page.getByRole('heading', { level: 1 }).waitFor();
      await program.until('/api/v1/dead-letters?status=open', ({ items }) => items.length === 0);
    });
    const document = await program.api('/api/v1/collections/positions/documents/lost1');
    assert.equal(document.document.altitude, 31000);
  });

  test('bodies of events do nothing to the page', async () => {
    const hostile = '</pre><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">';
    await program.publish({ key: 'evil', body: hostile });
    const { items } = await program.until('/api/v1/dead-letters', ({ items }) => items.some((item) => item.partition_key === 'evil'));
    const letter = items.find((item) => item.partition_key === 'evil');
    await visiting('hostile', {}, async (page) => {
      await page.goto(`/dead-letters/${letter.id}`);
      await page.getByText('onerror').first().waitFor();
      assert.doesNotMatch(await page.title(), /owned/);
    });
  });

  test('an outage, from the opening of the circuit to the restart', async () => {
    await visiting('outage', {}, async (page) => {
      await signIn(page, operator);
      await page.goto('/');
      program.goesAway();
      await program.publish(...reports(100, 160));
      await page.getByRole('heading', { name: /circuit of positions is open/i }).waitFor();
      await accessible(page);
      await picture(page, 'outage');
      await page.goto('/circuits/positions');
      await page.getByRole('main').getByText('Threshold', { exact: true }).waitFor();
      // Why it opened, with an event to look at.
      const causes = page.getByRole('region', { name: 'Causes of failed attempts' });
      await causes.getByRole('link', { name: /^flights\/\d\/\d+$/ }).first().waitFor();
      await accessible(page);
      await picture(page, 'circuit');
      await page.goto('/alerts');
      await page.getByRole('main').getByRole('link', { name: /positions/ }).first().waitFor();
      await page.goto('/circuits/positions');
      program.returns();
      await page.getByText(/^Close/).first().click();
      await page.getByLabel('Reason').first().fill('the weather service is back');
      await page.getByRole('button', { name: /^(close|restart)/i }).click();
      await page.goto('/');
      await program.until('/api/v1/overview', (overview) => settled(overview) && overview.functions[0].circuit.state === 'closed');
      await program.until('/api/v1/collections/positions/documents/4b009f', (document) => document.document.reports === 1);
    });
  });

  test('who may only read is refused, and told why', async () => {
    await visiting('refused', {}, async (page) => {
      await signIn(page, reader);
      await page.goto('/circuits/positions');
      assert.equal(await page.getByRole('button', { name: /^open/i }).count(), 0, 'nothing is offered that would be refused');
      // And whoever asks all the same is refused by the server.
      const answer = await page.request.post('/api/v1/circuits/positions/open', { data: { reason: 'because' } });
      assert.ok([401, 403].includes(answer.status()), `${answer.status()}`);
      const problem = await answer.json();
      assert.match(problem.code, /^TG-/);
    });
    await visiting('wrong-token', {}, async (page) => {
      await page.goto('/sign-in');
      await page.getByLabel('Token').fill('tg_wrong_token');
      await page.getByRole('button', { name: 'Sign in', exact: true }).click();
      await page.getByRole('alert').waitFor();
      await accessible(page);
    });
  });

  test('the keyboard is enough', async () => {
    await visiting('keyboard', {}, async (page) => {
      await page.goto('/');
      await page.keyboard.press('Tab');
      assert.match(await page.evaluate(() => document.activeElement.textContent), /skip/i);
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => location.hash.length > 1), true, 'the skip link goes to the content');
      await page.keyboard.press('/');
      assert.equal(await page.evaluate(() => document.activeElement.tagName), 'INPUT');
      await page.keyboard.type('flights/0/0');
      await page.keyboard.press('Enter');
      await page.waitForURL(/\/trace/);
      // Every stop of the focus can be seen.
      await page.goto('/');
      for (let stop = 0; stop < 25; stop += 1) {
        await page.keyboard.press('Tab');
        const seen = await page.evaluate(() => {
          const { activeElement } = document;
          if (activeElement === document.body) return true;
          const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(activeElement);
          return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
        });
        const what = await page.evaluate(() => document.activeElement.outerHTML.slice(0, 200));
        assert.ok(seen, `the focus cannot be seen on ${what}`);
      }
    });
  });
});

// Its first page has something to say that the others must not have.
describe('the console where nobody listens', { concurrency: false }, () => {
  let lonely;
  let admin;

  before(async () => {
    lonely = await Program.start(NOBODY_LISTENS);
    admin = lonely.token('root', 'admin');
  });

  after(() => lonely?.stop());

  const everyLook = [
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['phone-light', { colorScheme: 'light', viewport: { width: 390, height: 844 } }],
    ['phone-dark', { colorScheme: 'dark', viewport: { width: 390, height: 844 } }],
  ];

  async function looked(page) {
    await accessible(page);
    await fits(page);
  }

  test('a source that cannot be reached is said on the overview and explained on its page', async () => {
    for (const [name, options] of everyLook) {
      await visiting(`away-${name}`, options, async (page) => {
        await page.goto('/');
        await page.getByRole('heading', { level: 1, name: /The hub yard cannot be reached/ }).waitFor();
        await page.locator('#flow').getByText(/127\.0\.0\.1:9/).first().waitFor();
        await looked(page);
        await picture(page, `away-${name}`);
        await page.getByRole('link', { name: 'Look at the hub' }).click();
        await page.getByRole('heading', { level: 1, name: 'yard' }).waitFor();
        await page.getByText('It is tried again until it answers', { exact: false }).waitFor();
        await looked(page);
        await picture(page, `away-hub-${name}`);
      }, lonely);
    }
  });

  test('whom a notice did not reach is said beside its alert, with the tries and the error', async () => {
    lonely.command('circuit', 'open', 'positions', '--reason', 'looked into');
    await lonely.until('/api/v1/notices', ({ items }) => items.some((notice) => notice.deliveries.some(({ tries }) => tries > 0)));
    for (const [name, options] of everyLook) {
      await visiting(`told-${name}`, options, async (page) => {
        await page.goto('/alerts');
        const told = page.getByRole('region', { name: 'What was told' });
        await told.getByText('circuit opened: positions').first().waitFor();
        await told.getByText('chat', { exact: true }).first().waitFor();
        await told.getByText('tried again').first().waitFor();
        await looked(page);
        await picture(page, `told-${name}`);
      }, lonely);
    }
    lonely.command('circuit', 'close', 'positions', '--reason', 'looked into');
  });

  test('an admin ends a session by keyboard, and whoever had it is asked to sign in', async () => {
    const ada = await visitor(chromium, lonely);
    await signIn(ada.page, lonely.token('ada', 'operator'));
    for (const [name, options] of everyLook) {
      await visiting(`sessions-${name}`, options, async (page) => {
        await signIn(page, admin);
        await page.goto('/settings');
        await page.getByRole('link', { name: 'Sessions' }).click();
        await page.getByRole('rowheader', { name: /root.*this one/ }).waitFor();
        await looked(page);
        await page.goto('/tokens');
        await page.getByRole('rowheader', { name: /root/ }).waitFor();
        await looked(page);
        await picture(page, `tokens-${name}`);
        await page.goto('/sessions');
        await picture(page, `sessions-${name}`);
        if (name !== 'light') return;
        // Tab reaches what ends it, Enter opens it, and Enter in the reason sends it.
        const row = page.getByRole('row', { name: /ada/ });
        await row.locator('summary').focus();
        await page.keyboard.press('Enter');
        await page.keyboard.press('Tab');
        assert.equal(await page.evaluate(() => document.activeElement.name), 'reason');
        await page.keyboard.type('left');
        await looked(page);
        await page.keyboard.press('Enter');
        await page.getByRole('status').getByText(/is over/).waitFor();
        assert.equal(await page.getByRole('row', { name: /ada/ }).count(), 0);
      }, lonely);
    }
    await ada.page.goto('/');
    await ada.page.getByRole('link', { name: 'Sign in' }).waitFor();
    await ada.close();
  });
});
