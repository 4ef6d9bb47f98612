import type { Ask } from '../asks/read.ts';
import type { Run } from '../runs.ts';
import type { Said } from './tables.ts';

/**
 * What is to be said of a job: a pure function of how its run stands and what was said before. So nothing is said twice and
 * nothing is left out, whatever happened between two looks: the Nostr column of the table of triggers is here.
 */

export interface Standing {
  run: Pick<Run, 'state' | 'output' | 'failureMessage' | 'returned' | 'paid' | 'attempt' | 'quote'>;
  /** The latest; what is due on it. */
  ask:
    | (Pick<Ask, 'id' | 'kind' | 'state' | 'amount' | 'received' | 'surplus'> & {
        underpay: 'reject' | 'accumulate';
        /** Its price holds no more; it ends within moments. */
        isLate: boolean;
      })
    | null;
  /** Those that can be read and were not delivered yet. */
  parts: { number: number; content: unknown }[];
}

export type Word =
  | { status: 'processing'; info: string }
  | { status: 'partial'; content: unknown }
  | { status: 'payment-required'; info: string; ask: string; credits: bigint }
  | { status: 'error'; info: string }
  /** The result; `credits` are still to be paid. */
  | { status: 'result'; content: unknown; ask: string | null; credits: bigint };

export interface Speech {
  words: Word[];
  said: Said;
  /** The last word of the job is among them. */
  isOver: boolean;
  /** The run is to be ended: a payment came short that was to come whole. */
  cancels: boolean;
}

/** An ask is made public again when what is due on it has changed. */
export const askedAs = (askId: string, due: bigint): string => `${askId} ${due}`;

export function speak({ run, ask, parts }: Standing, before: Said): Speech {
  const words: Word[] = [];
  const said = { ...before };
  const due = ask ? ask.amount - ask.received : 0n;
  if (!said.isProcessing && hasBegun(run)) {
    words.push({ status: 'processing', info: 'The work has begun.' });
    said.isProcessing = true;
  }
  for (const { number, content } of parts.filter((part) => part.number > before.parts)) {
    words.push({ status: 'partial', content });
    said.parts = number;
  }
  const isShort = ask?.state === 'open' && !ask.isLate && ask.surplus > 0n && ask.underpay === 'reject';
  const last = lastWord(run, ask, due) ?? (isShort ? shortWord(ask.surplus, due) : undefined);
  if (last) return { words: [...words, last], said, isOver: true, cancels: isShort };
  const isAsked = ask && ask.kind !== 'result' && (ask.state === 'open' || ask.state === 'part_paid');
  if (isAsked && said.asked !== askedAs(ask.id, due)) {
    words.push({ status: 'payment-required', info: askWords(run, ask, due), ask: ask.id, credits: due });
    said.asked = askedAs(ask.id, due);
  }
  return { words, said, isOver: false, cancels: false };
}

const hasBegun = ({ state, attempt }: Standing['run']): boolean =>
  state === 'queued' || state === 'running' || state === 'paused' || state === 'succeeded' || attempt > 0;

function lastWord(run: Standing['run'], ask: Standing['ask'], due: bigint): Word | undefined {
  switch (run.state) {
    case 'succeeded':
      return { status: 'result', content: run.output, ask: ask && due > 0n ? ask.id : null, credits: due };
    case 'failed':
      return { status: 'error', info: `${sentence(run.failureMessage ?? 'The work has failed')} ${whatOfMoney(run)}` };
    case 'cancelled':
      return { status: 'error', info: `Cancelled. ${whatOfMoney(run)}` };
    case 'expired':
      return { status: 'error', info: `Payment timeout: what was asked was not paid in time. ${whatOfMoney(run)}` };
    default:
      return undefined;
  }
}

const shortWord = (came: bigint, due: bigint): Word => ({
  status: 'error',
  info: `Insufficient payment: ${came} of ${due} credits came, and they are yours. Send the job again to use them.`,
});

function askWords({ quote }: Standing['run'], ask: NonNullable<Standing['ask']>, due: bigint): string {
  if (ask.received > 0n) return `${due} of ${ask.amount} credits are still to be paid.`;
  if (ask.kind === 'part') return `The next part costs ${due} credits.`;
  return [quote?.info, `${due} credits are to be paid before the work begins.`].filter(Boolean).join(' ');
}

function whatOfMoney({ paid, returned }: Standing['run']): string {
  if (paid === 0n) return 'Nothing was charged.';
  if (returned === paid) return 'What was paid is on your account again.';
  return returned > 0n ? `${returned} of ${paid} credits are on your account again.` : 'What was paid stays paid.';
}

const sentence = (text: string) => `${text.replace(/\.$/, '')}.`;
