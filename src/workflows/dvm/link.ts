import { and, eq, inArray, isNull } from 'drizzle-orm';
import { balancesOf, link } from '../../credits/index.ts';
import { findShadowAccount } from '../../identity/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import { newId, toWire } from '../../platform/ids.ts';
import { isGenuine, type NostrEvent, tagValues } from '../../platform/nostr/event.ts';
import { asks } from '../asks/tables.ts';
import { shadowOf } from './customers.ts';
import { customers, jobs } from './tables.ts';

/**
 * The holder of a key of Nostr takes it to an account: jobs of the key are paid from there, and what its shadow account
 * holds moves over. The proof is an event of theirs that names the account, so that it is good for nothing else.
 */

const HTTP_AUTH = 27_235; // NIP-98
const FRESH_MS = 60_000;

export interface Linked {
  pubkey: string;
  movedCredits: bigint;
}

/** Throws a 422 with what is wrong about a proof. */
export function checkProof(proof: NostrEvent, wanted: { url: string; accountId: string }): void {
  const { kind, created_at } = proof;
  if (kind !== HTTP_AUTH) throw invalidField('/proof/kind', `must be ${HTTP_AUTH} (NIP-98)`);
  if (Math.abs(Date.now() - created_at * 1000) > FRESH_MS)
    throw invalidField('/proof/created_at', 'must be of this minute');
  const needs = { u: wanted.url, method: 'POST', account: toWire('account', wanted.accountId) };
  for (const [name, value] of Object.entries(needs)) {
    const told = tagValues(proof, name);
    if (told.length !== 1 || told[0] !== value)
      throw invalidField('/proof/tags', `must hold ["${name}", "${value}"] once`);
  }
  if (!isGenuine(proof)) throw invalidField('/proof/sig', 'is not the signature of this event by its key');
}

/**
 * Again fetches what has come for the key's shadow account since, from payments that came too late. 409 when the key is
 * another account's, or something of its shadow account is still under way.
 */
export async function linkKey(tx: Tx, accountId: string, pubkey: string): Promise<Linked> {
  const linkedAt = new Date();
  await tx.insert(customers).values({ pubkey, accountId, linkedAt }).onConflictDoNothing();
  const [known] = await tx.select().from(customers).where(eq(customers.pubkey, pubkey)).for('update');
  if (!known) throw new Error('a key that vanished');
  const isLinked = known.linkedAt !== null;
  if (isLinked && known.accountId !== accountId) throw new Problem('conflict', 'The key belongs to another account.');
  const shadowId = isLinked ? await findShadowAccount(tx, shadowOf(pubkey)) : known.accountId;
  if (shadowId === undefined) return { pubkey, movedCredits: 0n };
  await requireQuiet(tx, shadowId);
  const movedCredits = await moveBalance(tx, { from: shadowId, to: accountId });
  if (isLinked) return { pubkey, movedCredits };
  await tx.update(customers).set({ accountId, linkedAt }).where(eq(customers.pubkey, pubkey));
  await appendEvents(tx, [
    {
      ...{ accountId, type: 'workflows.nostr_key_linked', subjectId: accountId },
      payload: { pubkey, moved_credits: Number(movedCredits) },
    },
  ]);
  await failpoint('workflows.nostr.before_link_commit');
  return { pubkey, movedCredits };
}

async function requireQuiet(tx: Tx, shadowId: string): Promise<void> {
  const isOpen = and(eq(jobs.accountId, shadowId), isNull(jobs.closedAt));
  const isOwed = and(eq(asks.accountId, shadowId), inArray(asks.state, ['open', 'part_paid', 'written_off']));
  if ((await tx.$count(jobs, isOpen)) > 0 || (await tx.$count(asks, isOwed)) > 0)
    throw new Problem('conflict', 'Jobs of this key are under way or not paid yet. Link it when they are done.');
}

/** By two transfers, through the ledger's account for this. */
async function moveBalance(tx: Tx, { from, to }: { from: string; to: string }): Promise<bigint> {
  const { available, held, debt } = await balancesOf(tx, from);
  if (held > 0n || debt > 0n)
    throw new Problem('conflict', 'Credits of this key are set aside. Link it when they are free.');
  if (available === 0n) return 0n;
  const { result } = await link(tx, from, to, available, { type: 'nostr_link', id: newId() });
  if (result === 'insufficient') throw new Problem('conflict', 'Credits of this key are being moved. Try again.');
  if (result !== 'posted') throw new Error(`the link was ${result}`);
  return available;
}
