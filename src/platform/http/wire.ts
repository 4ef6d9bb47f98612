import { z } from 'zod';
import { fromWire, type IdKind, prefixOf, toWire } from '../ids.ts';
import { ProblemBody } from './problem.ts';

/** How values look on the wire, in both directions. */

/** Above this a JSON number is no longer exact everywhere; our own limit for one amount is lower still. */
export const MAX_AMOUNT = 1_000_000_000_000;

/** An id in a request: `run_01jd…` → uuid. */
export const idIn = (kind: IdKind) =>
  z
    .string()
    .regex(
      new RegExp(`^${prefixOf(kind)}_[0-7][0-9a-hjkmnp-tv-z]{25}$`),
      `must be an id that begins with ${prefixOf(kind)}_`,
    )
    .transform((id) => fromWire(kind, id));

/** An id in a reply. */
export const idOut = (kind: IdKind) => z.string().describe(`begins with ${prefixOf(kind)}_`);

/** `/…/:id` */
export const idParam = (kind: IdKind) => z.strictObject({ id: idIn(kind) });

/** A positive amount in a request, as bigint: credits, or minor units of a currency. */
export const amountIn = z.int('must be a whole number').min(1).max(MAX_AMOUNT).transform(BigInt);

export const amountOut = z.int();

/** bigint → JSON integer; refuses what JSON could not carry exactly. */
export function amount(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError('an amount beyond 2^53 cannot go on the wire');
  return number;
}

/** One line of text for people. */
export const line = (max: number) =>
  z
    .string()
    .min(1, 'must not be empty')
    .max(max, `must have at most ${max} characters`)
    .regex(/^[^\p{Cc}]*$/u, 'must be one line of text');

/** An object that is somebody else's business. */
export const JsonObject = z.record(z.string(), z.unknown());

export const timeOut = z.iso.datetime();
export const time = (value: Date): string => value.toISOString();
export const timeOrNull = (value: Date | null): string | null => value?.toISOString() ?? null;

/** Members that every object carries. */
export const head = <K extends IdKind>(kind: K, row: { id: string; createdAt: Date }) => ({
  object: kind,
  id: toWire(kind, row.id),
  created_at: time(row.createdAt),
});
export const headOut = <K extends string>(kind: K & IdKind) => ({
  object: z.literal(kind),
  id: idOut(kind),
  created_at: timeOut,
});

/** Response schemas of a route: its own, and the problem document for everything else. */
export const answers = <T extends Record<number, z.ZodType>>(own: T) => ({
  ...own,
  '4xx': ProblemBody,
  '5xx': ProblemBody,
});

export const Nothing = z.null().describe('no content');
