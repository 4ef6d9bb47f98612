import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codeOn, DESK, findChromium, inspect, openBrowser, openPage, PHONE, watch } from '../harness/browser.ts';
import { newCustomer } from '../harness/client.ts';
import { type LightningStage, openLightningStage } from '../lightning/stage.ts';

const chromium = findChromium();
const path = 'path' in chromium ? chromium.path : '';

describe.skipIf(path === '')(
  `the page of an invoice in a browser${'why' in chromium ? ` (skipped: ${chromium.why})` : ''}`,
  { timeout: 60_000 }, // a browser beside other tests on two cores
  () => {
    let stage: LightningStage;
    let browser: Browser;
    beforeAll(async () => {
      [stage, browser] = await Promise.all([openLightningStage(), openBrowser(path)]);
    });
    afterAll(async () => {
      await browser.close();
      await stage.close();
    });

    test.for([
      ['light', PHONE],
      ['dark', DESK],
    ] as const)('goes from the code to paid by itself, %s', async ([colorScheme, viewport]) => {
      const purchase = await stage.buy(await newCustomer(stage.farebox));
      const { invoice } = purchase.lightning;
      const page = await openPage(browser, {
        colorScheme,
        viewport,
        permissions: ['clipboard-read', 'clipboard-write'],
      });
      const seen = watch(page);
      await page.goto(purchase.status_url);
      expect(await page.locator('.amount').textContent()).toBe('21 sat');
      expect(await codeOn(page)).toBe(`LIGHTNING:${invoice.toUpperCase()}`);
      expect(await page.getByText('Open in a wallet').getAttribute('href')).toBe(`lightning:${invoice}`);
      await inspect(page, `lightning-to-pay-${colorScheme}`);
      await page.getByText('Copy the invoice').click();
      await page.getByText('Copied').waitFor();
      expect(await page.evaluate('navigator.clipboard.readText()')).toBe(invoice);
      await stage.wallet.control.pay(invoice);
      await page.getByText('500 credits have been added to the account.').waitFor();
      await inspect(page, `lightning-paid-${colorScheme}`);
      expect(seen.faults).toEqual([]);
      expect([...seen.hosts]).toEqual([new URL(stage.farebox.url).host]);
      await page.context().close();
    });

    test('without JavaScript it says the same, offers nothing that does nothing, and refreshes itself', async () => {
      const purchase = await stage.buy(await newCustomer(stage.farebox));
      const page = await openPage(browser, { javaScriptEnabled: false });
      await page.goto(purchase.status_url);
      expect(await codeOn(page)).toBe(`LIGHTNING:${purchase.lightning.invoice.toUpperCase()}`);
      expect(await page.getByText('Copy the invoice').isVisible()).toBe(false);
      expect(await page.locator('noscript meta[http-equiv=refresh]').count()).toBe(1);
    });
  },
);
