import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import AxeBuilder from '@axe-core/playwright';
import jsqrModule from 'jsqr';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { expect } from 'vitest';

// A CommonJS module whose types describe another shape.
const jsQR = jsqrModule as unknown as typeof jsqrModule.default;

/** Debian's Chromium, installed when it is missing and that is possible; else `why` says what is missing. */
export function findChromium(): { path: string } | { why: string } {
  const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const found = () => places.find((place) => existsSync(place));
  if (!found() && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const options = { stdio: 'ignore', timeout: 300_000 } as const;
    try {
      execFileSync('apt-get', ['update', '-qq'], options);
      execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], options);
    } catch {
      return { why: 'chromium is not installed, and apt-get could not install it' };
    }
  }
  const path = found();
  return path ? { path } : { why: 'chromium is not installed' };
}

export const openBrowser = (path: string): Promise<Browser> =>
  chromium.launch({
    executablePath: path,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

export const PHONE = { width: 320, height: 720 };
export const DESK = { width: 1280, height: 800 };

/** A page of its own, with its own cookies; `look` are Chromium's options, such as the colour scheme. */
export async function openPage(browser: Browser, look: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: PHONE, ...look });
  return context.newPage();
}

/** Where pictures of the pages go, for people to look at; none are made when it is not set. */
const pictures = process.env['PICTURES'];

/** Everything that an eye or a screen reader would complain of; and a picture, when somebody wants to look. */
export async function inspect(page: Page, name: string): Promise<void> {
  if (pictures) {
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
  }
  const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  expect(overflow, `${name}: nothing sticks out`).toBe(0);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(grave, name).toEqual([]);
}

/** What the QR code on a page says. */
export async function codeOn(page: Page): Promise<string | undefined> {
  const picture = PNG.sync.read(await page.locator('.qr:visible').screenshot());
  return jsQR(new Uint8ClampedArray(picture.data), picture.width, picture.height)?.data;
}

/** What a page complains of while it is open, and the hosts that it asks. */
export function watch(page: Page): { faults: string[]; hosts: Set<string> } {
  const seen = { faults: [] as string[], hosts: new Set<string>() };
  page.on('console', (message) => message.type() === 'error' && seen.faults.push(message.text()));
  page.on('pageerror', (fault) => seen.faults.push(fault.message));
  page.on('request', (request) => seen.hosts.add(new URL(request.url()).host));
  return seen;
}
