import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { FastifyInstance } from 'fastify';
import postgres from 'postgres';
import type { Article } from '../../examples/storefront/articles.ts';
import type { Shop } from '../../examples/storefront/paywall.ts';
import { buildShop } from '../../examples/storefront/shop.ts';
import { freePort } from '../../sandbox/postgres.ts';
import { type Json, newOperator } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { openRelay, type Relay } from '../harness/relay.ts';
import { type Order, type OrderStage, orderStageOn } from '../orders/stage.ts';

/**
 * The storefront as a process of its own, on another host than Farebox (cookies do not tell ports apart), and browsers
 * that keep cookies for each host and path.
 */
export interface StorefrontStage
  extends Pick<OrderStage, 'operator' | 'shop' | 'anybody' | 'richWallet' | 'wallet' | 'root'> {
  farebox: TestFarebox;
  /** Origin of the shop. */
  shopUrl: string;
  cookieKey: string;
  /** Settings as the README's recipe has them. */
  settings: Record<string, string>;
  /** What the shop's process has written so far. */
  log(): string;
  /** Another server of the same shop, in this process, which asks Farebox through a relay. */
  server(more?: Partial<Shop>, articles?: Article[]): Promise<Server>;
  browser(): Browser;
  close(): Promise<void>;
}

export interface Server {
  url: string;
  app: FastifyInstance;
  relay: Relay;
  close(): Promise<void>;
}

const COOKIE_KEY = 'a key for the cookies of the shop under test';

export async function openStorefrontStage(): Promise<StorefrontStage> {
  const port = await freePort();
  const shopUrl = `http://localhost:${port}`;
  const farebox = await fareboxForFile({ env: { RETURN_ORIGINS: shopUrl } });
  const root = postgres(farebox.database.superuserUrl, { max: 3, onnotice: () => {} });
  const stage = await orderStageOn(farebox, await newOperator(farebox));
  const wanted = { name: 'storefront', scopes: ['orders:write', 'read'] };
  const { key: apiKey } = await stage.shop.ok('POST', '/v1/api-keys', { body: wanted });
  const process = await openShop({
    ...{ SHOP_URL: shopUrl, FAREBOX_URL: farebox.url, FAREBOX_API_KEY: apiKey },
    ...{ SHOP_COOKIE_KEY: COOKIE_KEY, SHOP_CACHE_MS: '0' },
  });
  return {
    ...{ ...stage, root, farebox, shopUrl, cookieKey: COOKIE_KEY, log: process.log },
    settings: { FAREBOX_URL: farebox.url, FAREBOX_API_KEY: apiKey, SHOP_URL: shopUrl },
    server: async (more = {}, articles) => {
      const relay = await openRelay();
      relay.leadTo(farebox.url);
      const shop = {
        farebox: { url: relay.url, publicUrl: farebox.url, apiKey, deadlineMs: 10_000 },
        ...{ url: shopUrl, cookieKey: COOKIE_KEY, cacheMs: 0, ...more },
      };
      const app = buildShop(shop, { logger: false, ...(articles ? { articles } : {}) });
      const url = (await app.listen({ host: 'localhost', port: 0 })).replace('127.0.0.1', 'localhost');
      const close = async () => {
        await app.close();
        await relay.close();
      };
      return { url: url.replace('[::1]', 'localhost'), app, relay, close };
    },
    browser: () => openBrowser(shopUrl),
    close: async () => {
      await process.stop();
      await root.end();
      await farebox.stop();
    },
  };
}

/** `npm run storefront`, with nothing but these settings. */
async function openShop(settings: Record<string, string>) {
  const child = spawn(globalThis.process.execPath, ['examples/storefront/main.ts'], {
    env: { PATH: globalThis.process.env['PATH'] ?? '', FAREBOX_HOME: '/nowhere', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const stop = async () => {
    if (child.exitCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
  };
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      createInterface(stream).on('line', (line) => {
        text += `${line}\n`;
        if (line.includes('The shop is open')) resolve();
      });
    child.once('exit', (code) => reject(new Error(`the shop ended with ${code}\n${text}`)));
  });
  return { log: () => text, stop };
}

export interface Seen {
  status: number;
  headers: Headers;
  text: string;
  body: Json;
  /** Where it was read, or where it leads. */
  url: string;
  location: string;
}

export interface Browser {
  /** One request, no redirects. A path is one of the shop. */
  open(address: string, options?: { accept?: string; method?: string; cookie?: string }): Promise<Seen>;
  /** As a person: follows redirects between the hosts to where they end. */
  go(address: string): Promise<Seen>;
  /** The cookies of the shop, as they would be sent to this path. */
  cookies(path?: string): string;
  /** The secret part of the session, as the shop has set it. */
  session(): string;
}

const PERSON = 'text/html,application/xhtml+xml';

interface Cookie {
  host: string;
  path: string;
  name: string;
  value: string;
}

function openBrowser(shopUrl: string): Browser {
  let jar: Cookie[] = [];
  const sent = (url: URL) =>
    jar
      .filter(({ host, path }) => host === url.hostname && url.pathname.startsWith(path))
      .toSorted((a, b) => b.path.length - a.path.length)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
  const keep = (url: URL, header: string) => {
    const [pair = '', ...attributes] = header.split('; ');
    const [name = '', value = ''] = pair.split(/=(.*)/s, 2);
    const path = attributes.find((one) => one.startsWith('Path='))?.slice('Path='.length) ?? '/';
    jar = jar.filter((one) => one.host !== url.hostname || one.path !== path || one.name !== name);
    jar.push({ host: url.hostname, path, name, value });
  };
  const open: Browser['open'] = async (address, { accept = PERSON, method = 'GET', cookie } = {}) => {
    const url = new URL(address, shopUrl);
    const header = cookie ?? sent(url);
    const reply = await fetch(url, {
      ...{ method, redirect: 'manual', headers: { accept, ...(header === '' ? {} : { cookie: header }) } },
    });
    for (const set of reply.headers.getSetCookie()) keep(url, set);
    const text = await reply.text();
    const location = reply.headers.get('location') ?? '';
    return { status: reply.status, headers: reply.headers, text, body: parse(text), url: url.href, location };
  };
  return {
    open,
    go: async (address) => {
      let seen = await open(address);
      for (let n = 0; n < 10 && seen.location !== ''; n += 1) seen = await open(new URL(seen.location, seen.url).href);
      if (seen.location !== '') throw new Error(`led around without end, at last to ${seen.location}`);
      return seen;
    },
    cookies: (path = '/') => sent(new URL(path, shopUrl)),
    session: () => jar.find(({ name }) => name === 'farebox_session')?.value ?? '',
  };
}

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The order that a status address is of, for a wallet that has scanned it. */
export function orderAt(address: string): Order {
  const url = new URL(address);
  const told = (name: string) => url.searchParams.get(name) ?? undefined;
  return { id: url.pathname.split('/').at(-1) ?? '', token: told('token'), sessionId: told('session_id') };
}
