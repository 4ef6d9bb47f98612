import type { CheckResult } from './run-audit.ts';

/** The result of an audit as a table for people. */

export interface Look {
  width: number;
  /** Terminal colours. */
  color: boolean;
}

const paint = (look: Look, code: number) => (text: string) => (look.color ? `\x1b[${code}m${text}\x1b[0m` : text);
const KEYS_SHOWN = 5;

export function report(checks: CheckResult[], look: Look, ms: number): string[] {
  const [red, green, dim, bold] = [31, 32, 2, 1].map((code) => paint(look, code)) as [Paint, Paint, Paint, Paint];
  const lines: string[] = [];
  for (const [over, group] of Map.groupBy(checks, (one) => one.over)) {
    const checked = group[0]?.checked ?? null;
    const took = checked === null ? group.reduce((sum, one) => sum + one.ms, 0) : (group[0]?.ms ?? 0);
    const head = checked === null ? over : `${grouped(checked)} ${over}`;
    lines.push('', between(bold(head), dim(duration(took)), look.width, head.length + duration(took).length));
    for (const one of group) {
      const mark = one.offending === 0 ? green('✓') : red('✗');
      const count = one.offending === 0 ? '' : `${grouped(one.offending)} broken`;
      const [first = '', ...more] = wrapped(one.rule, look.width - INDENT - (count ? count.length + 2 : 0));
      const start = `  ${mark} ${dim(one.id)}  ${first}`;
      lines.push(count ? between(start, red(count), look.width, INDENT + first.length + count.length) : start);
      for (const line of more) lines.push(' '.repeat(INDENT) + line);
      for (const key of one.examples.slice(0, KEYS_SHOWN)) lines.push(`${' '.repeat(INDENT)}${red(key)}`);
      const left = one.offending - Math.min(one.examples.length, KEYS_SHOWN);
      if (left > 0) lines.push(`${' '.repeat(INDENT)}${dim(`and ${grouped(left)} more`)}`);
    }
  }
  const broken = checks.filter((one) => one.offending > 0).map((one) => one.id);
  const verdict =
    broken.length === 0
      ? green(checks.length === 1 ? 'It holds.' : `All ${checks.length} invariants hold.`)
      : red(
          `${broken.length} of ${checks.length} invariants ${broken.length === 1 ? 'is' : 'are'} broken: ${broken.join(', ')}.`,
        );
  lines.push('', `${bold(verdict)} ${dim(duration(ms))}`);
  return lines;
}

type Paint = (text: string) => string;
const INDENT = 9; // '  ✓ L01  '

const between = (left: string, right: string, width: number, visible: number) =>
  `${left}${' '.repeat(Math.max(2, width - visible))}${right}`;

/** 1 234 567, with spaces that do not break. */
export const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f');

export const duration = (ms: number): string => {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`;
};

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + word.length < width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
