import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { codeOn, DESK, findChromium, inspect, openBrowser, openPage, PHONE } from '../harness/browser.ts';
import { describeOnChain, payDollars } from '../harness/chain.ts';
import {
  agree,
  askFor,
  newPayer,
  openRequestStage,
  type RequestStage,
  requestOf,
  submit,
  TEN,
} from '../payments/request-stage.ts';

const chromium = findChromium();
const path = 'path' in chromium ? chromium.path : '';

describeOnChain('the page of a payment request in a browser', () => {
  let stage: RequestStage;
  let browser: Browser;
  beforeAll(async () => {
    [stage, browser] = await Promise.all([openRequestStage(), openBrowser(path)]);
  });
  afterAll(async () => {
    await browser.close();
    await stage.close();
  });

  test.for([
    ['light', PHONE],
    ['dark', PHONE],
    ['light', DESK],
    ['dark', DESK],
  ] as const)(
    'goes from agreeing to paid by itself, %s, and its code is the EIP-681 address',
    async ([colorScheme, viewport]) => {
      const payer = await newPayer(stage);
      const request = await askFor(stage, payer, { description: 'A <b>thousand</b> credits' });
      const page = await openPage(browser, { colorScheme, viewport });
      const faults: string[] = [];
      page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
      page.on('pageerror', (fault) => faults.push(fault.message));
      await page.goto(request.page_url);
      expect(await page.locator('h1').textContent()).toBe('A <b>thousand</b> credits');
      expect(await page.locator('.amount').textContent()).toBe('10 TUSD');
      await page.getByText('Waiting for your agreement').waitFor();
      await inspect(page, `request-to-agree-${colorScheme}-${viewport.width}`);
      await agree(stage, payer, request);
      await page.locator('.qr').waitFor();
      await inspect(page, `request-to-pay-${colorScheme}-${viewport.width}`);
      const { payment_uri: uri } = await requestOf(payer.client, request);
      expect(await codeOn(page)).toBe(uri);
      expect(await page.getByText('Open in a wallet').getAttribute('href')).toBe(uri);
      await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
      await page.getByText('1,000 credits have been added to the account.').waitFor();
      await inspect(page, `request-paid-${colorScheme}-${viewport.width}`);
      expect(faults).toEqual([]);
    },
  );

  test('without JavaScript it says the same and refreshes itself', async () => {
    const payer = await newPayer(stage);
    const request = await askFor(stage, payer);
    await agree(stage, payer, request);
    const page = await openPage(browser, { javaScriptEnabled: false });
    await page.goto(request.page_url);
    expect(await codeOn(page)).toBe((await requestOf(payer.client, request)).payment_uri);
    expect(await page.locator('noscript meta[http-equiv=refresh]').count()).toBe(1);
  });
});
