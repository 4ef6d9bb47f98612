import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { freePort, postgresHome } from '../../sandbox/postgres.ts';
import { eventually, type Json } from '../harness/client.ts';

/** `npm start` and `npm run tour`, as a newcomer meets them. */

const run = promisify(execFile);
let home: string;
let port: number;
let shopUrl: string;
let started: Started;

interface Started {
  child: ChildProcess;
  output(): string;
  ended: Promise<number | null>;
}

const environment = () => ({
  ...process.env,
  ...{ FAREBOX_HOME: home, PORT: String(port), SHOP_URL: shopUrl, NO_COLOR: '1' },
});

function start(more: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, ['sandbox/start.ts'], { env: { ...environment(), ...more } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, output: () => text, ended };
}

const isUp = ({ output }: Started) =>
  eventually(
    async () => output(),
    (text) => text.includes('Farebox is running'),
    60_000,
  );

async function stop({ child, ended }: Started): Promise<number | null> {
  child.kill('SIGINT');
  return ended;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'farebox-start-'));
  port = await freePort();
  shopUrl = `http://localhost:${await freePort()}`;
  started = start();
  await isUp(started);
}, 90_000);

afterAll(async () => {
  await stop(started);
  for (const folder of [home, postgresHome(join(home, 'postgres'))]) await rm(folder, { recursive: true, force: true });
});

test('the first screen tells what runs where, and fits 80 columns but for what is pasted', () => {
  const screen = started.output();
  expect(screen).toContain(`http://127.0.0.1:${port}/v1`);
  expect(screen).toContain('Ctrl-C');
  const told = screen.split('Paste this')[0]?.split('\n') ?? [];
  expect(told.filter((line) => line.length > 100)).toEqual([]);
});

test('the commands on the first screen work as printed', async () => {
  const pasted = (started.output().split('Paste this')[1] ?? '')
    .split('\n')
    .slice(1)
    .filter((line) => line.startsWith('  ') && !line.includes("Open the reply's"))
    .join('\n');
  // The one step that a person does in the bank app, done by the stand-in's own form.
  const paying = `
    sleep 0.2
    P=$(curl -s http://127.0.0.1:${port + 2}/pay | sed -nE 's/.*href="(\\/pay\\/chrg_[a-z0-9_]+)".*/\\1/p' | head -1)
    curl -s -o /dev/null -X POST -d decision=pay http://127.0.0.1:${port + 2}$P
    for i in $(seq 50); do curl -s $F/v1/credits/balance -H "$A" | grep -q '"available":100' && break; sleep 0.1; done`;
  const [before, after] = pasted.split(/(?=^ {2}curl -s \$F\/v1\/credits\/balance)/m);
  const { stdout } = await run('bash', ['-euc', `${before}\n${paying}\n${after}\necho; echo "run=$R"`], {
    env: environment(),
  });
  expect(stdout).toContain('"status":"pending"');
  expect(stdout).toContain('"available":100');
  expect(stdout).toMatch(/"object":"run","id":"run_/);
  expect(stdout).toMatch(/run=run_[0-9a-z]{26}/);
});

test('the tour walks the whole main job and says so by its exit code', async () => {
  const { stdout } = await run(process.execPath, ['sandbox/tour.ts'], { env: environment() });
  expect(stdout.match(/^✓ /gm)).toHaveLength(11);
  expect(stdout).toContain('balance     60 credits');
  expect(stdout).toContain('succeeded');
});

test('a package is paid in the wallet of the sandbox', async () => {
  const farebox = `http://127.0.0.1:${port}`;
  const walletUrl = /wallet +(\S+)\/pay/.exec(started.output())?.[1] ?? '';
  expect(started.output()).toMatch(/relay +ws:\/\/127\.0\.0\.1:\d+/);
  const call = async (path: string, body?: unknown, token = '') => {
    const headers = {
      'content-type': 'application/json',
      'idempotency-key': randomUUID(),
      authorization: `Bearer ${token}`,
    };
    const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    return (await fetch(farebox + path, { headers, ...sent })).json() as Promise<Json>;
  };
  const me = { email: `${randomUUID()}@example.com`, password: 'a long enough phrase' };
  await call('/v1/auth/register', me);
  const { access_token: token } = await call('/v1/auth/login', me);
  const { data } = await call('/v1/packages', undefined, token);
  const starter = data.find(({ name }: Json) => name === 'Starter');
  expect(starter.lightning_price.display).toBe('4,500 sat');
  const purchase = await call('/v1/purchases', { package_id: starter.id, method: { type: 'lightning' } }, token);
  const body = new URLSearchParams({ invoice: purchase.lightning.invoice });
  expect(await (await fetch(`${walletUrl}/pay`, { method: 'POST', body })).text()).toContain('Paid.');
  await eventually(
    () => call(`/v1/purchases/${purchase.id}`, undefined, token),
    ({ status }) => status === 'completed',
  );
});

test.skipIf(!findAnvil())('the tour of payments on chain walks from a new wallet to its receipt', async () => {
  const { stdout } = await run(process.execPath, ['sandbox/tour.ts', 'crypto'], { env: environment() });
  expect(stdout.match(/^✓ /gm)).toHaveLength(7);
  expect(stdout).toContain('balance     1000 credits');
});

test('the storefront opens with what is in the folder, and leads who has not paid to Farebox', async () => {
  const child = spawn(process.execPath, ['examples/storefront/main.ts'], { env: environment() });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
    });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  await eventually(
    async () => said,
    (told) => told.includes('The shop is open at'),
  );
  expect(started.output()).toContain(shopUrl);
  const reply = await fetch(`${shopUrl}/articles/paying-once`, { redirect: 'manual' });
  expect([reply.status, reply.headers.get('location')]).toEqual([
    302,
    expect.stringContaining(`http://127.0.0.1:${port}/orders/ord_`),
  ]);
  child.kill('SIGTERM');
  expect(await gone).toBe(0);
});

// REQ V2 V3
test('the tour of jobs over Nostr walks from a key that nobody knows to its result', async () => {
  const { stdout } = await run(process.execPath, ['sandbox/tour.ts', 'dvm'], { env: environment() });
  expect(stdout).toContain('payment-required, processing, result');
  expect(stdout).toMatch(/lnurl +lnurl1\w+… of the profile/);
});

test('a tour that there is not is told with those that there are', async () => {
  const refused = run(process.execPath, ['sandbox/tour.ts', 'moon'], { env: environment() });
  await expect(refused).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('main-job, crypto') });
});

test('a second start from the same folder is told that one runs', async () => {
  const other = await freePort();
  const second = start({ PORT: String(other) });
  expect(await second.ended).toBe(1);
  expect(second.output()).toMatch(/runs already, as process \d+, at http:\/\/127\.0\.0\.1:\d+/);
  expect(second.output()).not.toContain('    at ');
});

test('a taken port is told in a sentence', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const address = taken.address();
  const number = typeof address === 'object' && address ? address.port : 0;
  const second = start({ PORT: String(number), FAREBOX_HOME: join(home, 'other') });
  expect(await second.ended).toBe(1);
  expect(second.output()).toContain(`Port ${number} is taken by another program. Choose another one: PORT=`);
  taken.close();
});

test('PostgreSQL killed under it is started again, and nothing is lost', async () => {
  const secrets = JSON.parse(await readFile(join(home, 'sandbox.json'), 'utf8'));
  const pid = (
    await run('bash', ['-c', `pgrep -f 'postgres .*-p ${secrets.ports.postgres}( |$)' | head -1`])
  ).stdout.trim();
  process.kill(Number(pid), 'SIGKILL');
  await eventually(
    async () => started.output(),
    (text) => text.includes('Starting it again'),
  );
  const answers = async () => (await fetch(`http://127.0.0.1:${port}/v1/packages`).catch(() => null))?.status;
  expect(await eventually(answers, (status) => status === 200, 30_000)).toBe(200);
});

test('the data is there after a stop and a start', async () => {
  const email = `kept-${Date.now()}@example.com`;
  const post = (path: string, body: unknown) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const credentials = { email, password: 'a long enough phrase' };
  expect((await post('/v1/auth/register', credentials)).status).toBe(201);
  const packagesBefore = await (await fetch(`http://127.0.0.1:${port}/v1/packages`)).json();
  // As at a terminal, where npm hands the signal on that we had already: still one wish, and a clean end.
  started.child.kill('SIGINT');
  expect(await stop(started)).toBe(0);
  expect(existsSync(join(home, 'running.json'))).toBe(false);
  started = start();
  await isUp(started);
  expect((await post('/v1/auth/login', credentials)).status).toBe(200);
  expect(await (await fetch(`http://127.0.0.1:${port}/v1/packages`)).json()).toEqual(packagesBefore);
}, 90_000);

test('an old Node is told what to do, on any script', async () => {
  const old = (
    await run('bash', ['-c', 'for n in /usr/local/bin/node /usr/bin/node; do [ -x $n ] && echo $n && break; done'])
  ).stdout.trim();
  const version = old === '' ? '' : (await run(old, ['-v'])).stdout.trim();
  const isOld = version !== '' && Number(version.slice(1).split('.')[0]) < 26;
  const node = isOld
    ? [old]
    : [
        process.execPath,
        '--import',
        'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.1.0"})',
      ];
  const result = await run(node[0] ?? '', [
    ...node.slice(1),
    '--import',
    './src/platform/require-node.mjs',
    'sandbox/start.ts',
  ]).catch((fault) => fault);
  expect(result.code).toBe(1);
  expect(result.stderr).toContain('Farebox needs Node 26 or newer; this is Node 20.');
  expect(result.stderr).toContain('npm ci');
});
