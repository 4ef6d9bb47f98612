import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

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
