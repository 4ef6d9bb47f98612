import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';

/** What a person sees and says. Answers go to standard output, questions to standard error: the first may be read by a program. */
export interface Terminal {
  print(line: string): void;
  /** To whoever looks, while a program reads the answer. */
  say(line: string): void;
  /** Aborted by Ctrl-C, from now until it is released. */
  interruption(): { signal: AbortSignal; release(): void };
  /** Yes only when somebody says so. */
  confirm(question: string): Promise<boolean>;
  /** One line of standard input, not shown on a screen. */
  readSecret(prompt: string): Promise<string>;
  close(): void;
}

export function openTerminal(): Terminal {
  let lines: AsyncIterator<string> | undefined;
  let reader: Interface | undefined;
  let isHidden = false;
  const echo = new Writable({
    write(chunk, _encoding, done) {
      if (!isHidden) process.stderr.write(chunk);
      done();
    },
  });
  const nextLine = async (): Promise<string | undefined> => {
    reader ??= createInterface({ input: process.stdin, output: echo, terminal: process.stdin.isTTY === true });
    lines ??= reader[Symbol.asyncIterator]();
    const { done, value } = await lines.next();
    return done ? undefined : value;
  };
  return {
    print: (line) => process.stdout.write(`${line}\n`),
    say: (line) => process.stderr.write(`${line}\n`),
    interruption: () => {
      const over = new AbortController();
      const stop = () => over.abort();
      process.once('SIGINT', stop);
      return { signal: over.signal, release: () => process.off('SIGINT', stop) };
    },
    confirm: async (question) => {
      process.stderr.write(`${question} [y/N] `);
      const answer = await nextLine();
      if (answer === undefined) process.stderr.write('\n');
      return /^\s*y(es)?\s*$/i.test(answer ?? '');
    },
    readSecret: async (prompt) => {
      if (process.stdin.isTTY) process.stderr.write(prompt);
      isHidden = true;
      const secret = await nextLine();
      isHidden = false;
      if (process.stdin.isTTY) process.stderr.write('\n');
      return secret ?? '';
    },
    close: () => reader?.close(),
  };
}

const MAX_SHOWN = 300;

/** Text from elsewhere, which must not move the cursor, change colours or the direction of what stands around it. */
export const shown = (text: unknown): string =>
  String(text)
    .replace(/[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu, '?')
    .slice(0, MAX_SHOWN);

export const bold = (text: string): string =>
  process.stdout.isTTY && !process.env['NO_COLOR'] ? `\x1b[1m${text}\x1b[22m` : text;

/** Names and values in two columns. */
export const columns = (rows: [name: string, value: string][]): string[] =>
  rows.map(([name, value]) => `  ${name.padEnd(10)} ${value}`);
