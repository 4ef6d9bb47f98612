import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codeOn, DESK, findChromium, inspect, openBrowser, openPage, PHONE, watch } from '../harness/browser.ts';
import { type Client, eventually, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';

const chromium = findChromium();
const path = 'path' in chromium ? chromium.path : '';

describe.skipIf(path === '')(
  `the checkout page in a browser${'why' in chromium ? ` (skipped: ${chromium.why})` : ''}`,
  { timeout: 60_000 }, // a browser beside other tests on two cores
  () => {
    let farebox: TestFarebox;
    let browser: Browser;
    let customer: Client;
    let pack: Json;

    beforeAll(async () => {
      [farebox, browser] = await Promise.all([fareboxForFile(), openBrowser(path)]);
      const operator = await newOperator(farebox);
      pack = await operator.ok('POST', '/v1/admin/packages', {
        body: { name: 'Team <b onclick=alert(1)>', credits: 550, price: 50_000 },
      });
      customer = await newCustomer(farebox);
    });
    afterAll(async () => {
      await browser.close();
      await farebox.stop();
    });

    const buy = (method: Json, more: Json = {}) =>
      customer.ok('POST', '/v1/purchases', { body: { package_id: pack.id, method, ...more } });
    const chargeOf = (purchase: Json) => {
      const found = farebox.omise.control
        .charges()
        .find((one) => (one['metadata'] as Json).purchase_id === purchase.id);
      return found as Json;
    };
    const payloadOf = async (charge: Json) => {
      const html = await (await fetch(`${farebox.omise.url}/pay/${charge.id}`)).text();
      return /<details><summary>Content of the code<\/summary><code>([^<]+)</.exec(html)?.[1];
    };

    for (const colorScheme of ['light', 'dark'] as const) {
      for (const viewport of [PHONE, DESK]) {
        test(`shows amount and a QR code that decodes, ${colorScheme}, ${viewport.width} px`, async () => {
          const purchase = await buy({ type: 'promptpay' });
          const page = await openPage(browser, { colorScheme, viewport });
          const seen = watch(page);
          await page.goto(purchase.status_url);
          expect(await page.locator('.amount').textContent()).toBe('฿500.00');
          expect(await page.locator('h1').textContent()).toBe('Team <b onclick=alert(1)>: 550 credits');
          const box = await page.locator('.qr img').boundingBox();
          expect(box?.width).toBeGreaterThanOrEqual(240);
          expect(await codeOn(page)).toBe(await payloadOf(chargeOf(purchase)));
          await inspect(page, `checkout-${colorScheme}-${viewport.width}`);
          expect(seen.faults).toEqual([]);
          expect([...seen.hosts]).toEqual([new URL(farebox.url).host]);
          await page.context().close();
        });
      }
    }

    test('updates by itself when the payment arrives, without a reload', async () => {
      const purchase = await buy({ type: 'promptpay' });
      const page = await openPage(browser);
      const seen = watch(page);
      await page.goto(purchase.status_url);
      await page.evaluate('window.marker = 1');
      farebox.omise.control.pay(chargeOf(purchase).id);
      await page.getByText('550 credits have been added').waitFor({ timeout: 10_000 });
      expect(await page.evaluate('window.marker')).toBe(1);
      expect(await page.locator('[aria-live=polite]').getAttribute('data-state')).toBe('completed');
      await inspect(page, 'checkout-paid');
      expect(seen.faults).toEqual([]);
      await page.context().close();
    });

    test('a payment link is chosen, paid and completed without JavaScript', async () => {
      const purchase = await buy({ type: 'payment_link' });
      const page = await openPage(browser, { javaScriptEnabled: false });
      await page.goto(purchase.status_url);
      await page.getByRole('button', { name: 'PromptPay QR code' }).click();
      await page.locator('.qr img').waitFor();
      expect(page.url()).toBe(purchase.status_url);
      farebox.omise.control.pay(chargeOf(purchase).id);
      // The page refreshes itself; nobody presses anything.
      await page.getByText('550 credits have been added').waitFor({ timeout: 15_000 });
      await page.context().close();
    });

    // It used to be put back as it came by the first event of the stream, and with it what was typed so far.
    test('what a visitor has opened and typed stays while nothing new has happened', async () => {
      const purchase = await buy({ type: 'payment_link' });
      const page = await openPage(browser);
      await page.goto(purchase.status_url);
      await page.getByText('TrueMoney Wallet', { exact: true }).click();
      const phone = page.getByLabel('Phone number of the wallet');
      await phone.fill('0812345678');
      const again = page.waitForResponse(purchase.status_url);
      await page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);
      await (await again).finished();
      await page.evaluate(() => new Promise((done) => setTimeout(done, 100)));
      expect(await phone.isVisible()).toBe(true);
      expect(await phone.inputValue()).toBe('0812345678');
      await page.context().close();
    });

    test('TrueMoney leads away, and the return visit shows what the provider says', async () => {
      const purchase = await buy({ type: 'payment_link' }, { return_uri: `${farebox.url}/docs/errors` });
      const page = await openPage(browser);
      await page.goto(purchase.status_url);
      await page.getByText('TrueMoney Wallet', { exact: true }).click();
      await page.getByLabel('Phone number of the wallet').fill('0812345678');
      await page.getByRole('button', { name: 'Pay with TrueMoney Wallet' }).click();
      await page.getByRole('link', { name: 'Continue to TrueMoney Wallet' }).click();
      await page.waitForURL(/authorize/);
      await page.getByRole('button').first().click();
      await page.waitForURL(`${farebox.url}/docs/errors`);
      const paid = await eventually(
        () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
        ({ status }) => status === 'completed',
      );
      expect(paid.status).toBe('completed');
      await page.goto(purchase.status_url);
      expect(await page.getByRole('link', { name: 'Continue' }).getAttribute('href')).toBe(
        `${farebox.url}/docs/errors`,
      );
      await page.context().close();
    });

    test('a failed attempt on a link says why and lets the payer try again', async () => {
      const purchase = await buy({ type: 'payment_link' });
      const page = await openPage(browser);
      await page.goto(purchase.status_url);
      await page.getByRole('button', { name: 'K PLUS' }).click();
      await page.getByRole('link', { name: 'Continue to K PLUS' }).waitFor();
      farebox.omise.control.fail(chargeOf(purchase).id, 'insufficient_balance');
      await page.getByText('That did not work').waitFor();
      await inspect(page, 'checkout-failed-attempt');
      await page.getByRole('button', { name: 'PromptPay QR code' }).click();
      await page.locator('.qr img').waitFor();
      await page.context().close();
    });

    test('every other state has its own words', async () => {
      const page = await openPage(browser);
      const shows = async (purchase: Json, words: string) => {
        await page.goto(purchase.status_url);
        await page.getByText(words).waitFor();
        await inspect(page, `checkout-${words}`);
      };
      const failed = await buy({ type: 'promptpay' });
      farebox.omise.control.fail(chargeOf(failed).id, 'failed_processing');
      const until = (purchase: Json, status: string) =>
        eventually(
          () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
          (one) => one.status === status,
        );
      await until(failed, 'failed');
      await shows(failed, 'Payment failed');
      const expired = await buy({ type: 'promptpay' });
      farebox.omise.control.expire(chargeOf(expired).id);
      await until(expired, 'expired');
      await shows(expired, 'No longer open');
      const cancelled = await buy({ type: 'promptpay' });
      await customer.ok('POST', `/v1/purchases/${cancelled.id}/cancel`);
      await shows(cancelled, 'Cancelled');
      const odd = await buy({ type: 'promptpay' });
      farebox.omise.control.mutate(chargeOf(odd).id, { data: 'amount_off_by_one' });
      farebox.omise.control.pay(chargeOf(odd).id);
      await until(odd, 'review');
      await shows(odd, 'Being checked');
      await page.goto(`${farebox.url}/checkout/${'x'.repeat(43)}`);
      await page.getByText('This link leads nowhere').waitFor();
      await inspect(page, 'checkout-unknown');
      await page.context().close();
    });

    test('with the provider away, paying says so and nothing is lost', async () => {
      const purchase = await buy({ type: 'payment_link' });
      const rule = farebox.omise.control.fault({ api: 'rate_limited', method: 'POST', path: '/charges' });
      const page = await openPage(browser, { javaScriptEnabled: false });
      await page.goto(purchase.status_url);
      await page.getByRole('button', { name: 'PromptPay QR code' }).click();
      await page.getByText('Not possible at the moment').waitFor();
      farebox.omise.control.clearFaults(rule);
      await page.goto(purchase.status_url);
      await page.getByRole('button', { name: 'PromptPay QR code' }).click();
      await page.locator('.qr img').waitFor();
      await page.context().close();
    });

    test('it can be used by keyboard alone', async () => {
      const purchase = await buy({ type: 'payment_link' });
      const page = await openPage(browser);
      await page.goto(purchase.status_url);
      await page.keyboard.press('Tab');
      expect(await page.evaluate('document.activeElement.textContent')).toBe('PromptPay QR code');
      await page.keyboard.press('Enter');
      await page.locator('.qr img').waitFor();
      await page.context().close();
    });
  },
);
