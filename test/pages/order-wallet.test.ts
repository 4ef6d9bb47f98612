import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { articles } from '../../examples/storefront/articles.ts';
import { openStorefrontStage, orderAt, type StorefrontStage } from '../examples/stage.ts';
import { codeOn, DESK, findChromium, inspect, openBrowser, openPage, PHONE, watch } from '../harness/browser.ts';
import { eventually, type Json, newCustomer, PASSWORD } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { newSession, standing } from '../orders/stage.ts';
import { grant } from '../workflows/stage.ts';

/**
 * People at a shop and its Farebox, on two hosts (`localhost` and `127.0.0.1`), in a real browser: they buy with the wallet
 * that lives in the status page, lose their cookies, and read on without paying again.
 */

const chromium = findChromium();
const path = 'path' in chromium ? chromium.path : '';
const CHEAP = '/articles/paying-once';
const DEAR = '/articles/double-entry';
const textOf = (address: string) => articles.find(({ slug }) => address.endsWith(slug))?.text[0] ?? '';

describe.skipIf(path === '')(
  `the status page and its wallet in a browser${'why' in chromium ? ` (skipped: ${chromium.why})` : ''}`,
  () => {
    let stage: StorefrontStage;
    let browser: Browser;
    beforeAll(async () => {
      [stage, browser] = await Promise.all([openStorefrontStage(), openBrowser(path)]);
    });
    afterAll(async () => {
      expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
      await browser.close();
      await stage.close();
    });

    const at = (address: string) => stage.shopUrl + address;
    const visit = async (address: string, look: BrowserContextOptions = {}): Promise<Page> => {
      const page = await openPage(browser, look);
      await page.goto(at(address));
      return page;
    };
    const reads = async (page: Page, address: string) => {
      await page.getByText(textOf(address)).waitFor();
      expect(page.url()).toBe(at(address));
    };
    /** Cookies of the shop and of Farebox; what the wallet keeps is no cookie. */
    const loseCookies = (page: Page) => page.context().clearCookies();
    const paidOrders = async (address: string) => {
      const [row] = await stage.root`
        select count(*)::int as paid from payments.orders where state = 'paid' and fulfillment_url = ${at(address)}`;
      return row?.['paid'];
    };
    const rich = async (credits: number) => {
      const customer = await newCustomer(stage.farebox);
      if (credits > 0) await grant(stage.operator, customer, credits);
      return customer;
    };
    const logInAndPay = async (page: Page, email: string, password = PASSWORD) => {
      await page.getByText(/of my account$/).click();
      await page.getByLabel('E-mail address').fill(email);
      await page.getByLabel('Password').fill(password);
      await page.getByRole('button', { name: /^Pay [\d,]+ credits$/ }).click();
    };
    /** What an e-mail of the shop leads to: the status page of an order that no session has asked for. */
    const linkOfMail = async () => {
      const order = await stage.shop.ok('POST', '/private/orders', {
        body: {
          order: {
            amount: 'CREDITS:10',
            summary: 'On paying once',
            resource: 'paying-once',
            fulfillment_url: at(CHEAP),
          },
        },
      });
      return `${stage.farebox.url}/orders/${order.order_id}?token=${order.token}`;
    };
    /** At the provider, as the banking app of whoever has scanned the code does it. */
    const payAtProvider = async (page: Page) => {
      await page.getByRole('button', { name: 'PromptPay QR code' }).click();
      await page.locator('.qr img').waitFor();
      const charges = stage.farebox.omise.control.charges();
      const { id } = charges.at(-1) as Json;
      stage.farebox.omise.control.pay(id);
    };

    // REQ O1 O2 O9
    test('an account holder buys with credits, loses the cookies, and reads again without paying', async () => {
      const customer = await rich(100);
      const page = await visit(CHEAP);
      const seen = watch(page);
      await page.getByRole('button', { name: 'Pay ฿20.00' }).waitFor();
      await inspect(page, 'order-to-claim');
      await page.getByText(/of my account$/).click();
      await inspect(page, 'order-log-in');
      await page.getByText(/of my account$/).click();
      await logInAndPay(page, customer.email);
      await reads(page, CHEAP);
      expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(90);
      const before = await paidOrders(CHEAP);
      await loseCookies(page);
      await page.goto(at(CHEAP));
      await page.getByText('You have paid for this').waitFor();
      await inspect(page, 'order-open-again');
      await page.getByRole('button', { name: 'Open it' }).click();
      await reads(page, CHEAP);
      expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(90);
      expect(await paidOrders(CHEAP)).toBe(before);
      expect(seen.faults.filter((fault) => !fault.includes('402'))).toEqual([]);
      expect([...seen.hosts].toSorted()).toEqual([new URL(stage.farebox.url).host, new URL(stage.shopUrl).host]);
      // The log-in was for this one payment.
      const [left] = await stage.root`
        select count(*)::int as sessions from identity.sessions s join identity.accounts a on a.id = s.account_id
        where a.email = ${customer.email} and s.ended_at is null`.catch(() => [undefined]);
      if (left) expect(left['sessions']).toBeLessThanOrEqual(1); // the one by which the account was made
      await page.context().close();
    });

    // REQ O1 O3
    test('a reader without an account buys by PromptPay, loses the cookies, and reads again', async () => {
      const page = await visit(DEAR, { viewport: DESK, colorScheme: 'dark' });
      await page.getByRole('button', { name: 'Pay ฿50.00' }).click();
      await page.getByRole('heading', { name: 'How do you want to pay?' }).waitFor();
      await payAtProvider(page);
      await reads(page, DEAR); // by itself
      const before = await paidOrders(DEAR);
      await loseCookies(page);
      await page.goto(at(DEAR));
      await page.getByRole('button', { name: 'Open it' }).click();
      await reads(page, DEAR);
      expect(await paidOrders(DEAR)).toBe(before);
      await page.context().close();
    });

    test('on a slow line the page sets out for the shop once, and arrives', async () => {
      const page = await openPage(browser);
      await page.goto(await linkOfMail());
      const setOut: string[] = [];
      const slowDown = (one: Page) =>
        one.route('**/orders/**', async (route) => {
          if (!route.request().isNavigationRequest()) return route.continue();
          setOut.push(route.request().url());
          await delay(1_500); // in which the page would look again several times
          return route.continue().catch(() => {});
        });
      await slowDown(page);
      await (await stage.richWallet(10)).buy(orderAt((await codeOn(page)) ?? ''));
      await reads(page, CHEAP);
      // Without cookies, by the order that this browser's wallet has paid.
      const customer = await rich(50);
      const other = await visit(DEAR);
      await logInAndPay(other, customer.email);
      await reads(other, DEAR);
      await loseCookies(other);
      await other.goto(at(DEAR));
      await slowDown(other);
      await other.getByRole('button', { name: 'Open it' }).click();
      await reads(other, DEAR);
      expect(setOut).toHaveLength(2);
      await page.context().close();
      await other.context().close();
    });

    test('who comes back unpaid goes on with the same payment, or gives the order up', async () => {
      const page = await visit(CHEAP);
      const status = page.url();
      await page.getByRole('button', { name: 'Pay ฿20.00' }).click();
      await page.waitForURL('**/checkout/**');
      const checkout = page.url();
      await page.goto(at(CHEAP));
      await page.getByText('Not paid yet').waitFor();
      await inspect(page, 'order-mine-unpaid');
      // As browsers bring back a page that was left: from their memory, as it was.
      await page.evaluate('window.marker = 1');
      await page.evaluate(`dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`);
      await page.waitForFunction('window.marker === undefined');
      await page.getByRole('button', { name: 'Pay ฿20.00' }).click();
      await page.waitForURL('**/checkout/**');
      expect(page.url()).toBe(checkout);
      await page.goto(at(CHEAP));
      await page.getByRole('button', { name: 'Give the order up' }).click();
      await page.getByText('Scan the code with your wallet').waitFor();
      expect(await standing(stage, orderAt(status))).toMatchObject({ order_status: 'unpaid' });
      await page.context().close();
    });

    test('too few credits, a wrong password: it is said, nothing is taken, and another way stays open', async () => {
      const customer = await rich(3);
      const page = await visit(CHEAP);
      await logInAndPay(page, customer.email, 'not the password');
      await page.getByText('E-mail address or password is wrong').waitFor();
      await inspect(page, 'order-wrong-password');
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Pay 10 credits' }).click();
      await page.getByText('This account has 3 credits, and 10 are needed').waitFor();
      expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(3);
      await page.getByRole('button', { name: 'Pay ฿20.00' }).click();
      await payAtProvider(page);
      await reads(page, CHEAP);
      await page.context().close();
    });

    // REQ O3 O5
    test('a link that was shared leads a second browser to an order of its own, never to the article', async () => {
      const first = await visit(CHEAP);
      const link = first.url();
      const customer = await rich(10);
      await logInAndPay(first, customer.email);
      await reads(first, CHEAP);
      const second = await openPage(browser);
      await second.goto(link); // the old address of the status page: it leads to the shop, which makes a new order
      await second.getByText('Scan the code with your wallet').waitFor();
      expect(orderAt(second.url()).id).not.toBe(orderAt(link).id);
      const [row] = await stage.root`select h_contract from payments.orders where order_id = ${orderAt(link).id}`;
      const bookmark = `${stage.farebox.url}/orders/${orderAt(link).id}?h_contract=${row?.['h_contract']}&session_id=${newSession()}`;
      await second.goto(bookmark);
      await second.getByText('This code is for something that is paid').waitFor();
      expect(await second.getByRole('button', { name: 'Open it' }).isVisible()).toBe(false);
      expect(await codeOn(second)).toBe(bookmark);
      await inspect(second, 'order-paid-by-another');
      await second.getByRole('link', { name: 'Make a new purchase' }).click();
      await second.getByText('Scan the code with your wallet').waitFor();
      await first.reload();
      await reads(first, CHEAP);
      await first.context().close();
      await second.context().close();
    });

    // REQ O2
    test('A12: an e-mail leads to the order without a session, and from it to the article in one go', async () => {
      const link = await linkOfMail();
      const page = await openPage(browser);
      const seen: string[] = [];
      page.on('request', (request) => request.isNavigationRequest() && seen.push(request.url()));
      await page.goto(link);
      const code = (await codeOn(page)) ?? '';
      const wallet = await stage.richWallet(50);
      await wallet.buy(orderAt(code)); // somebody scans it with a phone
      await reads(page, CHEAP);
      await page.reload();
      await reads(page, CHEAP);
      const [cookie] = (await page.context().cookies(stage.farebox.url)).filter(({ name }) => name === 'farebox_visit');
      expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Lax' });
      expect([code, ...seen].filter((address) => address.includes(cookie?.value ?? '?'))).toEqual([]);
      // The code was good once, and the link opens nothing to anybody else.
      const led = seen.find((address) => address.includes('farebox_code')) ?? '';
      expect(led).toContain(at(CHEAP));
      const thief = await openPage(browser);
      for (const address of [led, link, code]) {
        await thief.goto(address);
        await thief.locator('h1').waitFor();
        expect(await thief.getByText(textOf(CHEAP)).count()).toBe(0);
      }
      await page.context().close();
      await thief.context().close();
    });

    test('an e-mail’s order is paid by the wallet of the page, too', async () => {
      const page = await openPage(browser);
      await page.goto(await linkOfMail());
      const customer = await rich(10);
      await page.getByLabel('E-mail address').fill(customer.email);
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Pay 10 credits' }).click();
      await reads(page, CHEAP);
      await page.context().close();
    });

    // REQ O1
    test('R1: without JavaScript there is the code and the link, and the page goes on by itself', async () => {
      const page = await visit(CHEAP, { javaScriptEnabled: false });
      const order = orderAt(page.url());
      expect(await codeOn(page)).toBe(page.url());
      expect(await page.getByRole('link', { name: 'Open in a wallet' }).getAttribute('href')).toMatch(
        /^farebox\+http:\/\/pay\//,
      );
      expect(await page.locator('#wallet').isVisible()).toBe(false);
      await (await stage.richWallet(10)).buy(order);
      await reads(page, CHEAP);
      await page.context().close();
    });

    test('A15: when another wallet takes the order the page says so, and starting over makes a new one', async () => {
      const page = await visit(CHEAP);
      const order = orderAt(page.url());
      await page.evaluate('window.marker = 1');
      await (await stage.richWallet(10)).claim(order);
      await page.getByText('A wallet has taken this order').waitFor();
      expect(await page.evaluate('window.marker'), 'without a reload').toBe(1);
      await inspect(page, 'order-taken');
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await page.getByRole('button', { name: 'Copy the address' }).click();
      await page.getByText('Copied').waitFor();
      expect(await page.evaluate('navigator.clipboard.readText()')).toBe(await codeOn(page));
      await page.getByRole('link', { name: 'Start over' }).click();
      await page.getByText('Scan the code with your wallet').waitFor();
      expect(orderAt(page.url()).id).not.toBe(order.id);
      await page.context().close();
    });

    test('two tabs take an order with the same key: it is bought once, and both read', async () => {
      const customer = await rich(20);
      const one = await visit(CHEAP);
      const other = await one.context().newPage();
      await other.goto(at(CHEAP));
      expect(orderAt(other.url()).id).toBe(orderAt(one.url()).id);
      for (const page of [one, other]) {
        await page.getByText(/of my account$/).click();
        await page.getByLabel('E-mail address').fill(customer.email);
        await page.getByLabel('Password').fill(PASSWORD);
      }
      const press = `document.querySelector('[data-deed=credits]').requestSubmit()`;
      await Promise.all([one, other].map((page) => page.evaluate(press)));
      await Promise.all([reads(one, CHEAP), reads(other, CHEAP)]);
      expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(10);
      await one.context().close();
    });

    test('an answer that is lost on the way is asked for again, and nothing is paid twice', async () => {
      const customer = await rich(20);
      const page = await visit(CHEAP);
      for (const deed of ['claim', 'pay']) {
        let isLost = false;
        await page.route(`**/orders/*/${deed}`, async (route) => {
          if (isLost) return route.continue();
          isLost = true;
          await route.fetch();
          return route.abort('connectionreset');
        });
      }
      await logInAndPay(page, customer.email);
      await page.getByText('There was no answer. Try again').waitFor();
      await page.getByText('Not paid yet').waitFor(); // the page has heard that the order is its own
      await page.getByRole('button', { name: 'Pay 10 credits' }).click(); // what was typed is still there
      // That answer is lost, too; but the page hears that it is paid.
      await reads(page, CHEAP);
      expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(10);
      await page.context().close();
    });

    test('with the keyboard only', async () => {
      const customer = await rich(10);
      const page = await visit(CHEAP);
      await page.getByRole('button', { name: 'Pay ฿20.00' }).waitFor();
      await page.keyboard.press('Tab');
      expect(await page.evaluate('document.activeElement.textContent')).toBe('Pay ฿20.00');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.keyboard.press('Tab');
      await page.keyboard.type(customer.email);
      await page.keyboard.press('Tab');
      await page.keyboard.type(PASSWORD);
      await page.keyboard.press('Enter');
      await reads(page, CHEAP);
      await page.context().close();
    });

    // REQ O5 O8 O10 O11
    test.each([
      ['light', PHONE],
      ['dark', DESK],
    ] as const)('every state has its own words, %s', async (colorScheme, viewport) => {
      const page = await openPage(browser, { colorScheme, viewport });
      const wallet = await stage.richWallet(200);
      const make = async (more: Json = {}) => {
        const made = await stage.shop.ok('POST', '/private/orders', {
          body: {
            order: {
              ...{ amount: 'CREDITS:10', summary: 'On <b>paying</b> once', resource: randomUUID() },
              ...{ public_reorder_url: at('/'), fulfillment_message: 'The key is under the mat.', ...more },
            },
          },
        });
        return { id: made.order_id as string, token: made.token as string, sessionId: newSession() };
      };
      const shows = async (id: string, query: Record<string, string>, words: string) => {
        await page.goto(`${stage.farebox.url}/orders/${id}?${new URLSearchParams(query)}`);
        await page.getByText(words).first().waitFor();
        await inspect(page, `order-${words}-${colorScheme}`);
      };
      const open = await make({ prices: [{ rail: 'omise', amount: 2_000, currency: 'THB' }] });
      await shows(open.id, { token: open.token }, 'Scan the code');
      expect(await page.locator('h1').textContent()).toBe('On <b>paying</b> once');
      const taken = await make();
      await wallet.claim(taken);
      await shows(taken.id, { token: taken.token }, 'A wallet has taken this order');
      const paid = await make();
      const hash = await wallet.buy(paid);
      await shows(paid.id, { h_contract: hash, session_id: paid.sessionId }, 'The key is under the mat.');
      await shows(paid.id, { h_contract: hash, session_id: newSession() }, 'Already paid');
      await shows(paid.id, {}, 'This link does not open the order');
      await stage.shop.ok('POST', `/private/orders/${paid.id}/refund`, {
        body: { refund: 'CREDITS:10', reason: 'a misprint' },
      });
      await shows(paid.id, { h_contract: hash }, 'Given back');
      const late = await make({ pay_deadline: { t_s: Math.ceil(Date.now() / 1000) + 1 } });
      await eventually(
        () => fetch(`${stage.farebox.url}/orders/${late.id}?token=${late.token}`),
        ({ status }) => status === 410,
      );
      await shows(late.id, { token: late.token }, 'Not paid in time');
      await shows('ord_nobody', {}, 'There is no such order');
      await page.context().close();
    });
  },
);
