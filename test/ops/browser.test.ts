import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DESK, findChromium, inspect, openBrowser, openPage, PHONE } from '../harness/browser.ts';
import { type Client, type Json, newOperator, PASSWORD } from '../harness/client.ts';
import { openRefundStage, type RefundStage, refundOf } from '../refunds/stage.ts';

const chromium = findChromium();
const path = 'path' in chromium ? chromium.path : '';

describe.skipIf(path === '')(
  `the work list in a browser${'why' in chromium ? ` (skipped: ${chromium.why})` : ''}`,
  { timeout: 120_000 },
  () => {
    let stage: RefundStage;
    let browser: Browser;
    let operator: Client;

    beforeAll(async () => {
      [stage, browser] = await Promise.all([
        openRefundStage({ env: { REFUND_AUTO_CREDITS: '1', RATE_AUTH_PER_MIN: '10000' } }),
        openBrowser(path),
      ]);
      operator = await newOperator(stage.shop.farebox);
      await stage.shop.sql`insert into payments.differences (kind, reference, detail) values
        ('second_charge', 'chrg_test_5xuy4w91xqz7d1w9u0t', ${stage.shop.sql.json({ amount: 50_000, currency: 'THB' })})`;
    });
    afterAll(async () => {
      await browser.close();
      await stage.close();
    });

    const ops = () => `${stage.shop.farebox.internalUrl}/ops`;
    const now = (customer: Client, { id }: Json) => customer.ok('GET', `/v1/refunds/${id}`);

    async function logIn(look: BrowserContextOptions): Promise<Page> {
      const page = await openPage(browser, look);
      await page.goto(ops());
      await page.getByLabel('E-mail address').fill(operator.email);
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Log in' }).click();
      await page.getByRole('heading', { level: 1 }).waitFor();
      return page;
    }

    for (const colorScheme of ['light', 'dark'] as const) {
      for (const viewport of [PHONE, DESK]) {
        test(`approve and reject, ${colorScheme}, ${viewport.width} px`, async () => {
          const { customer, purchase, chargeId } = await stage.buyer();
          const first = await refundOf(customer, purchase, { amount: 300 });
          const second = await refundOf(customer, purchase, { amount: 100 });
          const look = { colorScheme, viewport };
          const page = await logIn(look);
          const name = (what: string) => `${what}-${colorScheme}-${viewport.width}`;
          await inspect(page, name('list'));
          await page.locator(`a[href="/ops/refunds/${first.id}"]`).click();
          await inspect(page, name('case'));
          await page.getByRole('link', { name: 'Approve' }).click();
          await inspect(page, name('confirm'));
          await page.getByLabel('Reason').fill('a fair wish');
          await page.getByRole('button', { name: 'Approve' }).click();
          await page.getByText('Nothing to decide.').waitFor();
          await inspect(page, name('decided'));
          expect(await now(customer, first)).toMatchObject({ status: 'completed', decision: 'a fair wish' });
          await page.getByRole('link', { name: 'Back to the work list' }).click();
          await page.locator(`a[href="/ops/refunds/${second.id}"]`).click();
          await page.getByRole('link', { name: 'Reject' }).click();
          await page.getByLabel('Reason').fill('it was used');
          await page.getByRole('button', { name: 'Reject' }).click();
          await page.getByText('Nothing to decide.').waitFor();
          expect(await now(customer, second)).toMatchObject({ status: 'rejected', decision: 'it was used' });
          expect(stage.givenBack(chargeId)).toEqual([30_000]);
          await page.context().close();
        });
      }
    }

    test('with the keyboard only, and without JavaScript', async () => {
      const { customer, purchase } = await stage.buyer();
      const refund = await refundOf(customer, purchase);
      const page = await logIn({ javaScriptEnabled: false });
      /** Goes on to the next thing that can be chosen until it is the one, as a person does. */
      const reach = async (address: string) => {
        for (let n = 0; n < 40; n += 1) {
          await page.keyboard.press('Tab');
          if ((await page.locator(`:focus${address}`).count()) > 0) return;
        }
        throw new Error(`${address} is not reached`);
      };
      await reach(`[href="/ops/refunds/${refund.id}"]`);
      await page.keyboard.press('Enter');
      await page.waitForURL(`**/ops/refunds/${refund.id}`);
      await reach('[href$="/approve"]');
      await page.keyboard.press('Enter');
      await page.waitForURL('**/approve');
      await reach('[name=reason]');
      await page.keyboard.type('by hand');
      await page.keyboard.press('Enter');
      await page.getByText('Nothing to decide.').waitFor();
      expect(await now(customer, refund)).toMatchObject({ status: 'completed', decision: 'by hand' });
      await page.context().close();
    });

    test('another site’s page cannot decide, even with the form’s token: the browser tells where it comes from', async () => {
      const { customer, purchase, chargeId } = await stage.buyer();
      const refund = await refundOf(customer, purchase);
      const page = await logIn({});
      await page.goto(`${ops()}/refunds/${refund.id}/approve`);
      const csrf = await page.locator('main form [name=csrf]').last().inputValue();
      const evil = createServer((_request, response) => {
        response.setHeader('content-type', 'text/html');
        response.end(`<form method="post" action="${ops()}/refunds/${refund.id}/approve">
          <input name="csrf" value="${csrf}"><input name="reason" value="forged"><button>Win a prize</button></form>`);
      });
      await new Promise<void>((resolve) => {
        evil.listen(0, '127.0.0.1', resolve);
      });
      const { port } = evil.address() as AddressInfo;
      // Another port of the same host is the same site for a cookie; another host is not even that.
      for (const [host, status] of [
        ['127.0.0.1', 403],
        ['localhost', 303],
      ] as const) {
        await page.goto(`http://${host}:${port}/`);
        const answer = page.waitForResponse((response) => response.request().method() === 'POST');
        await page.getByRole('button').click();
        expect((await answer).status(), host).toBe(status);
      }
      await page.getByText('For operators of this installation.').waitFor();
      expect(await now(customer, refund)).toMatchObject({ status: 'awaiting_approval' });
      expect(stage.givenBack(chargeId)).toEqual([]);
      evil.close();
      await page.context().close();
    });
  },
);
