import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { euro, kudos, modern, old, type Tariff } from './fee-structures.ts';

/** `farebox fees`, as somebody runs it who has nothing but the file: no settings, no database. */

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'farebox-fees-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(content: unknown): Promise<string> {
  const path = join(folder, `${crypto.randomUUID()}.json`);
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

async function fees(args: string[], input = '') {
  const child = spawn(process.execPath, ['src/cli.ts', 'fees', ...args], {
    env: { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {}); // not all of it may be read
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { out, err, code: Number(code) };
}

const AT = ['--at', '2021-01-01T00:00:00Z'];

// REQ X0 X1 X2 X3 X4 X5 X6 X7 X8 X9 X10
test('a table tells what matters', async () => {
  const { out, err, code } = await fees([await file(modern(kudos)), ...AT]);
  expect([code, err]).toEqual([0, '']);
  expect(out).toBe(`KUDOS: 6 denominations of 6 keys, at 2021-01-01 00:00 UTC

              direct changed and spent     kept refund refreshed  gap
       value       %       %         % % a year   fair      fair fine
        1000   0.002   0.112     0.231    0.048    yes        NO   NO
          10     0.2     1.3       3.2      0.8    yes        NO  yes
           5     0.4     2.4       6.2      1.6    yes        NO  yes
           2       1     5.5        15        4    yes        NO  yes
           1       2      11        20        4    yes        NO  yes
         0.1      20       -         -       40    yes         -  yes

fees known  814 days (denominations end first)
be online   at least every 730 days, to keep what is not spent
keeping     0.079 % a year, at worst 40 %
payments    KUDOS:0.1 to KUDOS:256000 with 256 coins, in steps of KUDOS:0.1
cost        KUDOS:0.02 to KUDOS:5.12, from end to end
            0.002 % to 20 % of what is paid
merchant    may take over 50 % to 50 % of that

! The next smaller denomination is less than a tenth of it: its change takes
  many coins. (KUDOS:1000)

! A fee of the smallest denomination is neither nothing nor just that
  denomination.

! A fee is no multiple of the smallest denomination: what is left cannot be held
  in coins. (KUDOS:1000, KUDOS:10, KUDOS:5 and 3 more)
`);
});

const huge: Tariff = {
  currency: 'ABCDEFGHIJK',
  coins: Array.from({ length: 60 }, (_, i) => [
    ...[`${4_503_599_627_370_400 - i}.12345678`, '4503599627370496', '0.00000001'],
    ...['4503599627370496', '4503599627370496'],
  ]) as Tariff['coins'],
};
test('no line is longer than 80 characters, and none has a colour, however large the values', async () => {
  const { out, code } = await fees([await file(modern(huge))]);
  expect(code).toBe(0);
  expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
  expect(out).not.toContain('\x1b');
  expect(out).not.toMatch(/undefined|NaN|Infinity/);
  expect(out).toContain('\nand 20 denominations more: --json shows all\n');
});

test('machines get JSON with every figure; standard input will do', async () => {
  const { out, code } = await fees(['--json', '-', ...AT, '--withdraw', 'EUR:10'], JSON.stringify(old(euro)));
  expect(code).toBe(0);
  const body: Json = JSON.parse(out);
  expect(body).toMatchObject({ object: 'fee_evaluation', currency: 'EUR', at: '2021-01-01T00:00:00.000Z' });
  expect(body.structure.payments.withdrawn).toBe('EUR:10');
  expect(body.denominations.map((one: Json) => one.change?.percent_to_the_end ?? null)).toEqual([
    ...['3', '5.6', '20', '40', null],
  ]);
});

describe('what cannot be evaluated ends with 2, and says why and what to do, without a stack', () => {
  test('fields of the file, by pointers into it; the first five', async () => {
    const spoiled = modern(kudos);
    spoiled.denominations[1].value = 'ten';
    spoiled.denominations[2].denoms[0].stamp_start = 5;
    for (const at of [3, 4, 5]) spoiled.denominations[at] = at;
    spoiled.global_fees = [{}];
    const result = await fees([await file(spoiled)]);
    refused(result, '  /denominations/1/value must be an amount such as EUR:1.25, with at most 8 decimals\n');
    refused(result, '  /denominations/2/denoms/0/stamp_start must be a time ');
    refused(result, '\n  and 2 more\n');
  });

  test.each<[string, unknown, string[], string]>([
    ['no JSON', '{"denoms": [],}', [], ' is not JSON.\n'],
    ['too much', { denoms: Array(20_001).fill(0) }, [], '  the document must list at most 20000 keys and fees\n'],
    ['an option', modern(kudos), ['--at', 'tomorrow'], '  --at must be a time such as 2026-01-31T00:00:00Z\n'],
    ['an unfit option', modern(kudos), ['--withdraw', 'EUR:1'], '  --withdraw must be in KUDOS\n'],
  ])('%s', async (_name, content, options, message) => {
    refused(await fees([await file(content), ...options]), message);
  });

  test('a file that is not there', async () => {
    refused(await fees([join(folder, 'nothing')]), 'nothing cannot be read (ENOENT).\n');
  });

  test('a file without end, which is not read to its end', async () => {
    refused(await fees(['/dev/zero']), '/dev/zero is larger than 10 MiB.\n');
  });

  function refused({ out, err, code }: Awaited<ReturnType<typeof fees>>, message: string) {
    expect([code, out], err).toEqual([2, '']);
    expect(err).toContain(message);
    expect(err).toMatch(/\nGet the document of an exchange with: curl .*\n$/);
    expect(err).not.toMatch(/\n {4}at |node:/);
  }
});

test('without a file it says how it is used', async () => {
  const { err, code } = await fees([]);
  expect(code).toBe(2);
  expect(err).toContain('Usage: farebox fees [options] <file>');
});
