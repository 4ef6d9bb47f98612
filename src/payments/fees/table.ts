import type { EvaluationBody } from './wire.ts';

/** An evaluation for people, on a terminal of 80 columns and without colours: what matters is in words. */

const WIDTH = 80;
const ROWS = 40; // more than any exchange offers that people pay with
const LABEL = 12;
const LONGEST_VALUE = 23; // what the other columns leave
const DAY_S = 86_400;

type DenominationBody = EvaluationBody['denominations'][number];
interface Column {
  head: [string, string];
  width: number;
  of(one: DenominationBody): string;
}

const columns: Column[] = [
  { head: ['direct', '%'], width: 8, of: ({ direct }) => short(direct.percent) },
  { head: ['changed', '%'], width: 8, of: ({ change }) => (change ? short(change.percent) : '-') },
  { head: ['and spent', '%'], width: 10, of: ({ change }) => (change ? short(change.percent_to_the_end) : '-') },
  { head: ['kept', '% a year'], width: 9, of: ({ upkeep }) => short(upkeep.percent_per_year) },
  { head: ['refund', 'fair'], width: 7, of: ({ refund }) => yesNo(refund.fair) },
  { head: ['refreshed', 'fair'], width: 10, of: ({ refund }) => yesNo(refund.fair_with_refresh) },
  { head: ['gap', 'fine'], width: 5, of: ({ reasonable }) => yesNo(reasonable) },
];

/** Lines of at most 80 characters. */
export function feeTable(body: EvaluationBody): string[] {
  const { currency, denominations, keys } = body;
  const title = `${currency}: ${counted(denominations.length, 'denomination')} of ${counted(keys.listed, 'key')}`;
  return [
    `${title}, at ${body.at.slice(0, 16).replace('T', ' ')} UTC`,
    '',
    ...rows(denominations),
    '',
    ...summary(body),
    ...body.advice.flatMap(({ detail, count, values }) => ['', ...wrapped('!', detail + example(count, values))]),
  ];
}

function rows(denominations: DenominationBody[]): string[] {
  const shown = denominations.slice(0, ROWS);
  const value = (one: DenominationBody) => {
    const digits = one.value.slice(one.value.indexOf(':') + 1);
    return digits.length > LONGEST_VALUE ? `${digits.slice(0, LONGEST_VALUE - 1)}…` : digits;
  };
  const first = Math.max(LABEL, ...shown.map((one) => value(one).length));
  const line = (label: string, cells: string[]) =>
    label.padStart(first) + cells.map((cell, i) => ` ${cell.padStart((columns[i]?.width ?? 0) - 1)}`).join('');
  const left = denominations.length - shown.length;
  return [
    line('', heads(0)),
    line('value', heads(1)),
    ...shown.map((one) =>
      line(
        value(one),
        columns.map(({ of }) => of(one)),
      ),
    ),
    ...(left > 0 ? [`and ${counted(left, 'denomination')} more: --json shows all`] : []),
  ];
}

const heads = (row: 0 | 1) => columns.map(({ head }) => head[row]);

function summary({ structure, keys }: EvaluationBody): string[] {
  const { upkeep, assurance, spending, payments, merchant_percent: merchant } = structure;
  const lines: [string, string][] = [
    ['fees known', known(assurance)],
    ['be online', `at least every ${days(structure.window_s)}, to keep what is not spent`],
    ['keeping', `${short(upkeep.percent_per_year)} % a year, at worst ${short(upkeep.worst.percent_per_year)} %`],
    [
      'payments',
      `${spending.least} to ${spending.most} with ${counted(spending.coins, 'coin')}, in steps of ${spending.step}`,
    ],
    ['cost', `${payments.least} to ${payments.most}, from end to end`],
    ['', `${short(payments.least_percent.percent)} % to ${short(payments.most_percent.percent)} % of what is paid`],
    [
      'merchant',
      merchant
        ? `may take over ${short(merchant.least)} % to ${short(merchant.most)} % of that`
        : 'nothing to take over',
    ],
  ];
  const { lost, over } = keys;
  if (lost + over > 0)
    lines.push(['left out', `${counted(lost, 'key')} lost, ${over} that can no longer be withdrawn`]);
  return lines.flatMap(([label, text]) => wrapped(label, text));
}

const known = ({ seconds, ends_with: part }: EvaluationBody['structure']['assurance']) =>
  seconds === 0
    ? `not at this time (${part.replace('_', ' ')})`
    : `${days(seconds)} (${part.replace('_', ' ')} end first)`;

/** The label, and beside it the text in as many lines as it takes. */
function wrapped(label: string, text: string): string[] {
  const indent = label === '!' ? 2 : LABEL;
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + word.length + 1 > WIDTH - indent) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines.map((line, i) => (i === 0 ? label : '').padEnd(indent) + line);
}

const example = (count: number, values: string[]) =>
  count === 0 ? '' : ` (${values.slice(0, 3).join(', ')}${count > 3 ? ` and ${count - 3} more` : ''})`;

const counted = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
const yesNo = (fair: boolean | null) => (fair === null ? '-' : fair ? 'yes' : 'NO');
const days = (seconds: number | null) => (seconds === null ? 'for ever' : counted(Math.floor(seconds / DAY_S), 'day'));

/** At most three decimals; what is exact is in the JSON. */
function short(percent: string): string {
  const number = Number(percent);
  return number >= 100_000 ? '>99999' : String(Math.round(number * 1000) / 1000);
}
