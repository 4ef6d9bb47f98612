import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { dictionary } from '@zxcvbn-ts/language-common';
import { invalidField, retryLater } from '../platform/http/problem.ts';

/**
 * Argon2id (RFC 9106) by node:crypto, kept in PHC form. Parameters: the least that OWASP and ASVS 5.0 (appendix C)
 * accept; about 90 ms each on a core.
 */
const MEMORY_KIB = 19_456;
const PASSES = 2;
const PARALLELISM = 1;
const TAG_BYTES = 32;
const SALT_BYTES = 16;

const MIN_LENGTH = 8;
const MAX_LENGTH = 128;

/** A hash takes a core and a thread of libuv's pool, which DNS and files need, too. */
const AT_ONCE = Math.max(1, Math.min(availableParallelism() - 1, 2));
const MAX_WAITING = 50;

const hashWith = promisify(argon2);
const common = new Set(dictionary['passwords-common']);

/** Refuses what is too short, too long or on the list of common passwords. Nothing is trimmed or cut. */
export function checkNewPassword(password: string, pointer: string): void {
  if (password.length < MIN_LENGTH) throw invalidField(pointer, `must have at least ${MIN_LENGTH} characters`);
  if (password.length > MAX_LENGTH) throw invalidField(pointer, `must have at most ${MAX_LENGTH} characters`);
  if (common.has(password.toLowerCase())) throw invalidField(pointer, 'is a common password', 'password_too_common');
}

/** PHC string of a new hash. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const parameters = { memory: MEMORY_KIB, passes: PASSES, parallelism: PARALLELISM };
  const hash = await inTurn(() => derive(password, salt, parameters, TAG_BYTES));
  return `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${PARALLELISM}$${unpadded(salt)}$${unpadded(hash)}`;
}

/** Against no account at all it takes the same time, so that nobody learns which e-mail addresses are known. */
export async function verifyPassword(password: string, phc: string | null): Promise<boolean> {
  const parsed = parsePhc(phc ?? NOBODY);
  if (!parsed || password.length > MAX_LENGTH) return false;
  const hash = await inTurn(() => derive(password, parsed.salt, parsed.parameters, parsed.hash.length));
  return timingSafeEqual(hash, parsed.hash) && phc !== null;
}

/** True when a hash was made with other parameters than today's. */
export const needsRehash = (phc: string): boolean =>
  !phc.startsWith(`$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${PARALLELISM}$`);

const NOBODY = `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${PARALLELISM}$${'A'.repeat(22)}$${'A'.repeat(43)}`;

interface Parameters {
  memory: number;
  passes: number;
  parallelism: number;
}

const derive = (password: string, salt: Buffer, parameters: Parameters, tagLength: number): Promise<Buffer> =>
  hashWith('argon2id', { message: password, nonce: salt, tagLength, ...parameters });

function parsePhc(phc: string): { parameters: Parameters; salt: Buffer; hash: Buffer } | undefined {
  const match = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(phc);
  if (!match) return undefined;
  const [, memory, passes, parallelism, salt = '', hash = ''] = match;
  return {
    parameters: { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) },
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64'),
  };
}

const unpadded = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');

let running = 0;
const waiting: (() => void)[] = [];

/** At most `AT_ONCE` at a time, at most `MAX_WAITING` behind them; beyond that a 503. */
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    if (waiting.length >= MAX_WAITING) throw retryLater('overloaded', 5);
    await new Promise<void>((turn) => waiting.push(turn));
  } else {
    running += 1;
  }
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}
