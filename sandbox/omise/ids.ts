import { randomInt } from 'node:crypto';
import type { World } from './state.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const TAIL_LENGTH = 19;

/**
 * An id as Omise makes them: prefix, `test_` outside live mode, 19 characters that begin with the time. Not drawn from
 * the seed: two stand-ins of one test run may share a database, and their charges must not share an id.
 */
export function newId(world: World, prefix: string): string {
  let tail = world.clock.now().toString(36);
  while (tail.length < TAIL_LENGTH) tail += ALPHABET.charAt(randomInt(ALPHABET.length));
  return `${prefix}_${world.account.livemode ? '' : 'test_'}${tail}`;
}
