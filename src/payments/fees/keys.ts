import { z } from 'zod';
import { type Amount, AmountIn } from './amounts.ts';

/**
 * The `/keys` document of a GNU Taler exchange, as far as fees and their times are in it. Members that are not needed here
 * are ignored, as exchanges add new ones with every version; those that are needed must be right. Two flavours:
 * - today: `denominations`, groups of one value and one set of fees, each with its keys in `denoms`; times `{"t_s": …}`;
 * - until 2022: `denoms`, a flat list; times `{"t_ms": …}`, and in 2018 `"/Date(…)/"` in seconds. Each time may be
 *   written in each way, and wire fees were told elsewhere then, so that they are missing.
 */

/** Entries of all lists together: twice what a large exchange lists, and few enough to be read at once. */
const MAX_ENTRIES = 20_000;
const LAST_SECOND = 253_402_300_799; // of the year 9999
const MAX_COMPLAINTS = 20;
const WIRE_METHOD = /^[\w.-]{1,50}$/;

/** In milliseconds since 1970; `Infinity` for never. */
type Time = number;

interface Period {
  start: Time;
  end: Time;
}

export interface Fees {
  withdraw: bigint;
  deposit: bigint;
  refresh: bigint;
  refund: bigint;
}

/** One signing key: what coins of it are worth, what is done with them at what fee, and how long. */
export interface CoinKey extends Fees {
  value: bigint;
  start: Time;
  expireWithdraw: Time;
  expireDeposit: Time;
  /** The exchange has lost it: nothing can be withdrawn with it any more. */
  lost: boolean;
}

export interface WireFee extends Period {
  method: string;
  wire: bigint;
  closing: bigint;
}

export interface ExchangeKeys {
  currency: string;
  coins: CoinKey[];
  wireFees: WireFee[];
  globalFees: Period[];
}

const complain = (context: z.RefinementCtx, path: PropertyKey[], message: string) =>
  context.addIssue({ code: 'custom', path, message });

/** In each of the spellings; by hand, as there are four of them in each of thousands of keys. */
const TimeIn = z
  .unknown()
  .describe(
    '`{"t_s": seconds}`, or as until 2022 `{"t_ms": milliseconds}` or `"/Date(seconds)/"`; `"never"` for a number',
  )
  .transform((written, context): Time => {
    const time = readTime(written);
    if (time === undefined) complain(context, [], 'must be a time before the year 10000, such as {"t_s": 1893456000}');
    return time ?? Number.NaN;
  });

function readTime(written: unknown): Time | undefined {
  const never = Number.POSITIVE_INFINITY;
  if (written === '/never/' || written === '/forever/') return never;
  if (typeof written === 'string')
    return inTime(Number(/^\/Date\((\d{1,12})\)\/$/.exec(written)?.[1] ?? Number.NaN), 1000);
  if (typeof written !== 'object' || written === null) return undefined;
  const [[unit, number] = [], ...others] = Object.entries(written);
  if (others.length > 0 || (unit !== 't_s' && unit !== 't_ms')) return undefined;
  return number === 'never' ? never : inTime(number, unit === 't_s' ? 1000 : 1);
}

const inTime = (number: unknown, ms: number): Time | undefined =>
  Number.isInteger(number) && Number(number) >= 0 && Number(number) * ms <= LAST_SECOND * 1000
    ? Number(number) * ms
    : undefined;

const tariff = {
  value: AmountIn.refine(({ units }) => units > 0n, 'must be more than nothing'),
  fee_withdraw: AmountIn,
  fee_deposit: AmountIn,
  fee_refresh: AmountIn,
  fee_refund: AmountIn,
};
const stamps = {
  stamp_start: TimeIn,
  stamp_expire_withdraw: TimeIn,
  stamp_expire_deposit: TimeIn,
  stamp_expire_legal: TimeIn.optional(),
  lost: z.boolean().optional(),
};

interface Stamps {
  stamp_start: Time;
  stamp_expire_withdraw: Time;
  stamp_expire_deposit: Time;
  stamp_expire_legal?: Time | undefined;
  lost?: boolean | undefined;
}

/** A coin can be withdrawn for a while, and spent for a while after that. */
function inOrder(key: Stamps, context: z.RefinementCtx): void {
  const never = Number.POSITIVE_INFINITY;
  if (key.stamp_start === never) complain(context, ['stamp_start'], 'must not be never');
  const follows = (later: Time, earlier: Time) => later > earlier || later === never;
  if (!follows(key.stamp_expire_withdraw, key.stamp_start))
    complain(context, ['stamp_expire_withdraw'], 'must be after stamp_start');
  if (!follows(key.stamp_expire_deposit, key.stamp_expire_withdraw))
    complain(context, ['stamp_expire_deposit'], 'must be after stamp_expire_withdraw');
  if ((key.stamp_expire_legal ?? never) < key.stamp_expire_deposit)
    complain(context, ['stamp_expire_legal'], 'must not be before stamp_expire_deposit');
}

/** Of a list that is wrong throughout only the first faults are looked for: there may be thousands. */
const listOf = <T extends z.ZodType>(entry: T) =>
  z.array(z.unknown()).transform((entries, context): z.output<T>[] => {
    const good: z.output<T>[] = [];
    for (const [at, written] of entries.entries()) {
      const read = entry.safeParse(written);
      if (read.success) good.push(read.data);
      for (const { path, message } of read.error?.issues ?? []) complain(context, [at, ...path], message);
      if (context.issues.length >= MAX_COMPLAINTS) break;
    }
    return good;
  });

const OldKey = z.object({ ...tariff, ...stamps }).superRefine(inOrder);
const Group = z.object({ ...tariff, denoms: listOf(z.object(stamps).superRefine(inOrder)) });

const period = { start_date: TimeIn, end_date: TimeIn };
function inPeriod(
  { start_date: start, end_date: end }: { start_date: Time; end_date: Time },
  context: z.RefinementCtx,
) {
  if (end <= start) complain(context, ['end_date'], 'must be after start_date');
}
const WireFeeIn = z.object({ ...period, wire_fee: AmountIn, closing_fee: AmountIn }).superRefine(inPeriod);
const GlobalFeeIn = z.object(period).superRefine(inPeriod);

const Document = z.object({
  currency: z
    .string()
    .regex(/^[A-Za-z]{1,11}$/, 'must be 1 to 11 letters')
    .optional(),
  denominations: listOf(Group).optional().describe('`value`, `fee_…` and `denoms` with `stamp_…`; today'),
  denoms: listOf(OldKey).optional().describe('`value`, `fee_…` and `stamp_…`; until 2022'),
  wire_fees: z.record(z.string(), listOf(WireFeeIn)).optional().describe('by wire method'),
  global_fees: listOf(GlobalFeeIn).optional(),
});
type Document = z.output<typeof Document>;

/** `/keys` of an exchange → what its fees are. All faults are found, each with its place. */
export const KeysIn = z.preprocess(notTooLong, Document.transform(gathered));

/** Counts before anything is looked at: each entry that is wrong would be told of. */
function notTooLong(document: unknown, context: z.RefinementCtx): unknown {
  const length = (list: unknown) => (Array.isArray(list) ? list.length : 0);
  const { denominations, denoms, wire_fees: wire, global_fees: global } = (document ?? {}) as Record<string, unknown>;
  let entries = length(denominations) + length(denoms) + length(global);
  for (const [method, fees] of typeof wire === 'object' && wire !== null ? Object.entries(wire) : []) {
    entries += 1 + length(fees);
    if (!WIRE_METHOD.test(method)) return unreadable(context, ['wire_fees'], 'must name wire methods such as iban');
  }
  if (entries <= MAX_ENTRIES && Array.isArray(denominations))
    for (const group of denominations) entries += length(group?.denoms);
  if (entries > MAX_ENTRIES) return unreadable(context, [], `must list at most ${MAX_ENTRIES} keys and fees`);
  return document;
}

function unreadable(context: z.RefinementCtx, path: PropertyKey[], message: string) {
  complain(context, path, message);
  return z.NEVER;
}

function gathered(document: Document, context: z.RefinementCtx): ExchangeKeys {
  const { denominations, denoms, wire_fees: wire = {}, global_fees: global = [] } = document;
  if ((denominations === undefined) === (denoms === undefined))
    complain(context, [], 'must hold either denominations or, as until 2022, denoms');
  const groups = (denominations ?? []).flatMap((group) => group.denoms.map((key) => ({ ...group, ...key })));
  const coins = [...groups, ...(denoms ?? [])].map(coinKey);
  if (coins.length === 0 && context.issues.length === 0) complain(context, [], 'must hold at least one key');
  const currency = document.currency ?? (denominations ?? denoms)?.[0]?.value.currency ?? '';
  inOneCurrency(document, currency, context);
  return {
    currency,
    coins,
    wireFees: Object.entries(wire).flatMap(([method, fees]) =>
      fees.map((fee) => ({ method, wire: fee.wire_fee.units, closing: fee.closing_fee.units, ...periodOf(fee) })),
    ),
    globalFees: global.map(periodOf),
  };
}

const periodOf = ({ start_date: start, end_date: end }: { start_date: Time; end_date: Time }) => ({ start, end });

const coinKey = (key: Record<keyof typeof tariff, Amount> & Stamps): CoinKey => ({
  value: key.value.units,
  withdraw: key.fee_withdraw.units,
  deposit: key.fee_deposit.units,
  refresh: key.fee_refresh.units,
  refund: key.fee_refund.units,
  start: key.stamp_start,
  expireWithdraw: key.stamp_expire_withdraw,
  expireDeposit: key.stamp_expire_deposit,
  lost: key.lost ?? false,
});

/** Fees in different currencies cannot be added up. */
function inOneCurrency(document: Document, currency: string, context: z.RefinementCtx): void {
  for (const [path, fields] of withAmounts(document)) {
    for (const [name, field] of Object.entries(fields)) {
      const other = (field as Partial<Amount> | undefined)?.currency;
      if (other === undefined || other === currency) continue;
      complain(context, [...path, name], `must be in ${currency}`);
      if (context.issues.length >= MAX_COMPLAINTS) return;
    }
  }
}

function* withAmounts(document: Document): Generator<[path: PropertyKey[], fields: object]> {
  for (const list of ['denominations', 'denoms'] as const)
    for (const [at, fields] of document[list]?.entries() ?? []) yield [[list, at], fields];
  for (const [method, fees] of Object.entries(document.wire_fees ?? {}))
    for (const [at, fields] of fees.entries()) yield [['wire_fees', method, at], fields];
}
