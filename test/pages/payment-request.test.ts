import AxeBuilder from '@axe-core/playwright';
import jsqrModule from 'jsqr';
import type { Browser, Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DESK, findChromium, openBrowser, openPage, PHONE } from '../harness/browser.ts';
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

// A CommonJS module whose types describe another shape.
const jsQR = jsqrModule as unknown as typeof jsqrModule.default;
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

  /** Everything that a visitor's eye and screen reader would complain of. */
  async function inspect(page: Page): Promise<void> {
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')).toEqual([]);
    const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    expect(overflow, 'nothing sticks out').toBe(0);
  }

  async function codeOn(page: Page): Promise<string | undefined> {
    const picture = PNG.sync.read(await page.locator('.qr').screenshot());
    return jsQR(new Uint8ClampedArray(picture.data), picture.width, picture.height)?.data;
  }

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
      await inspect(page);
      await agree(stage, payer, request);
      await page.locator('.qr').waitFor();
      await inspect(page);
      const { payment_uri: uri } = await requestOf(payer.client, request);
      expect(await codeOn(page)).toBe(uri);
      expect(await page.getByText('Open in a wallet').getAttribute('href')).toBe(uri);
      await submit(payer, request, await payDollars(payer.wallet, stage.chain, TEN));
      await page.getByText('1,000 credits have been added to the account.').waitFor();
      await inspect(page);
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
