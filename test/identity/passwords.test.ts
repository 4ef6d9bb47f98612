import { argon2Sync, randomBytes, randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashPassword, needsRehash, verifyPassword } from '../../src/identity/passwords.ts';
import { clientOf, newCustomer, PASSWORD, type Reply } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
});

const post = (path: string, body: unknown) => clientOf(farebox.url).call('POST', path, { body });
const logIn = (email: string, password: string) => post('/v1/auth/login', { email, password });
const register = (password: unknown) => post('/v1/auth/register', { email: `${randomUUID()}@example.com`, password });
const hashOf = async (email: string): Promise<string> => {
  const [row] = await root`select password_hash from identity.accounts where email = ${email}`;
  return row?.['password_hash'];
};

const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
function phcOf(password: string, memory: number, passes: number): string {
  const nonce = randomBytes(16);
  const tag = argon2Sync('argon2id', { message: password, nonce, parallelism: 1, tagLength: 32, memory, passes });
  return `$argon2id$v=19$m=${memory},t=${passes},p=1$${base64(nonce)}$${base64(tag)}`;
}

test('a hash of the reference implementation verifies (phc-winner-argon2, src/test.c)', async () => {
  const phc = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
  expect(await verifyPassword('password', phc)).toBe(true);
  expect(await verifyPassword('Password', phc)).toBe(false);
  expect(needsRehash(phc)).toBe(true);
});

test('a new hash is Argon2id in PHC form, with a salt of its own, and anybody can recompute it', async () => {
  const [one, two] = [await hashPassword(PASSWORD), await hashPassword(PASSWORD)];
  expect(one).not.toBe(two);
  const [, , , parameters, salt = '', tag] = one.split('$');
  expect(parameters).toBe('m=19456,t=2,p=1');
  const nonce = Buffer.from(salt, 'base64');
  expect(nonce.length).toBe(16);
  const again = argon2Sync('argon2id', {
    ...{ message: PASSWORD, nonce, parallelism: 1, tagLength: 32, memory: 19_456, passes: 2 },
  });
  expect(base64(again)).toBe(tag);
  expect(needsRehash(one)).toBe(false);
});

test.each([
  ['', null],
  ['not a hash', 'plain'],
  ['another algorithm', '$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'],
])('no password fits an account without a usable hash %s', async (_name, phc) => {
  expect(await verifyPassword('password', phc)).toBe(false);
  expect(await verifyPassword('', phc)).toBe(false);
});

test('a log-in renews a hash of former parameters; a wrong password does not', async () => {
  const { email } = await newCustomer(farebox);
  const former = phcOf(PASSWORD, 8_192, 1);
  await root`update identity.accounts set password_hash = ${former} where email = ${email}`;
  expectProblem(await logIn(email, 'wrong'), 'invalid_credentials');
  expect(await hashOf(email)).toBe(former);
  expect((await logIn(email, PASSWORD)).status).toBe(200);
  const renewed = await hashOf(email);
  expect(needsRehash(renewed)).toBe(false);
  expect((await logIn(email, PASSWORD)).status).toBe(200);
  expect(await hashOf(email), 'once is enough').toBe(renewed);
});

test('renewing a hash never brings an old password back', async () => {
  const { email } = await newCustomer(farebox);
  await root`update identity.accounts set password_hash = ${phcOf(PASSWORD, 65_536, 6)} where email = ${email}`;
  const loggingIn = logIn(email, PASSWORD); // verifies for some hundred milliseconds, then renews
  await new Promise((resolve) => setTimeout(resolve, 100));
  const stolen = phcOf('the new password', 8_192, 1);
  await root`update identity.accounts set password_hash = ${stolen} where email = ${email}`;
  await loggingIn;
  expect(await hashOf(email)).toBe(stolen);
});

test('an unknown e-mail address costs the same work as a wrong password', async () => {
  const { email } = await newCustomer(farebox);
  const time = async (address: string) => {
    const began = performance.now();
    expectProblem(await logIn(address, 'wrong'), 'invalid_credentials');
    return performance.now() - began;
  };
  const [known, unknown]: [number[], number[]] = [[], []];
  for (let i = 0; i < 9; i += 1) {
    known.push(await time(email));
    unknown.push(await time(`${randomUUID()}@example.com`));
  }
  const median = (times: number[]) => times.toSorted((a, b) => a - b)[4] ?? 0;
  // Without the work it would be a twentieth; a finer bound would test the machine.
  expect(median(unknown)).toBeGreaterThan(median(known) / 2);
  expect(median(known)).toBeGreaterThan(median(unknown) / 2);
});

test('a flood of log-ins is told to come back, holds nobody else up, and leaves no slot taken', async () => {
  const flood = Array.from({ length: 120 }, () => logIn(`${randomUUID()}@example.com`, 'wrong'));
  const began = performance.now();
  expect((await clientOf(farebox.url).get('/v1/packages')).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(1_000);
  const replies: Reply[] = await Promise.all(flood);
  const refused = replies.filter(({ status }) => status === 503);
  expect(refused.length, 'one or two at work, fifty waiting, and what is done meanwhile').toBeGreaterThan(10);
  expect(replies.length - refused.length).toBeGreaterThanOrEqual(50);
  for (const reply of replies) expectProblem(reply, reply.status === 503 ? 'overloaded' : 'invalid_credentials');
  for (const reply of refused) expect(reply.headers.get('retry-after')).toBe('5');
  const { email } = await newCustomer(farebox);
  const after = await Promise.all(Array.from({ length: 20 }, () => logIn(email, PASSWORD)));
  expect(after.map(({ status }) => status)).toEqual(Array(20).fill(200));
});

test('a password of 8 to 128 characters is taken as it is: not cut, not trimmed, not folded', async () => {
  for (const password of [
    'xK7#qL2z',
    'é'.repeat(128),
    `${'x'.repeat(127)}1`,
    '  spaces around  ',
    '密码密码密码密码',
    '👍🏽 and 👍🏽.',
  ]) {
    const reply = await register(password);
    expect(reply.status, password).toBe(201);
    expect((await logIn(reply.body.email, password)).status, password).toBe(200);
    expectProblem(await logIn(reply.body.email, password.slice(0, -1)), 'invalid_credentials');
    expectProblem(await logIn(reply.body.email, `${password} `), 'invalid_credentials');
  }
});

test.each([
  ['seven characters', 'xK7#qL2', 'validation_failed'],
  ['none', '', 'validation_failed'],
  ['129 characters', 'x'.repeat(129), 'validation_failed'],
  ['sixty thousand characters', 'x'.repeat(60_000), 'validation_failed'],
  ['a number', 12_345_678, 'validation_failed'],
  ['a common one', 'password123', 'password_too_common'],
  ['a common one in capitals', 'QWERTYUIOP', 'password_too_common'],
  ['half a character', 'abcdefgh\ud800', 'validation_failed'],
  ['a NUL inside', 'abcdefgh\0ijk', 'validation_failed'],
] as const)('a new password of %s is refused before any hashing', async (_name, password, code) => {
  const began = performance.now();
  const replies = await Promise.all(Array.from({ length: 20 }, () => register(password)));
  for (const reply of replies) expectFieldProblem(reply, '/password', code);
  expect(performance.now() - began, 'twenty hashes would take longer').toBeLessThan(700);
});

test('a password of one mebibyte is a 413, at the log-in as at the registration', async () => {
  const password = 'x'.repeat(1024 * 1024);
  expectProblem(await register(password), 'body_too_large');
  expectProblem(await logIn('a@example.com', password), 'body_too_large');
});
