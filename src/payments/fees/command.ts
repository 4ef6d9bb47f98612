import { createReadStream } from 'node:fs';
import type { Command } from 'commander';
import { z } from 'zod';
import { print } from '../../platform/commands.ts';
import { pointerOf } from '../../platform/http/failures.ts';
import { Problem } from '../../platform/http/problem.ts';
import { EvaluateIn, evaluateRequest } from './request.ts';
import { MAX_BYTES } from './routes.ts';
import { feeTable } from './table.ts';
import { renderEvaluation } from './wire.ts';

const SHOWN = 5;

/** `fees FILE`: exit code 0 when it could be evaluated, whatever came of it; 2 when not. Needs no installation. */
export function feesCommand(program: Command): void {
  program
    .command('fees <file>')
    .description("tell what the fees in a GNU Taler exchange's /keys mean (- reads standard input)")
    .option('--at <time>', 'as of this time, such as 2026-01-31T00:00:00Z')
    .option('--withdraw <amount>', 'price payments out of one such sum, with change')
    .option('--json', 'for machines')
    .action(async (file: string, { json, ...asked }: { at?: string; withdraw?: string; json?: boolean }) => {
      try {
        const body = renderEvaluation(evaluated(file, { keys: jsonOf(file, await read(file)), ...asked }));
        print(json ? JSON.stringify(body) : feeTable(body).join('\n'));
      } catch (fault) {
        if (!(fault instanceof UnfitFile)) throw fault;
        process.stderr.write(`${fault.message}\n${HELP}\n`);
        process.exitCode = 2;
      }
    });
}

const HELP = 'Get the document of an exchange with: curl -o keys.json https://exchange.example/keys';
class UnfitFile extends Error {}

/** Up to one byte more than is looked at. */
async function read(file: string): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of file === '-' ? process.stdin : createReadStream(file)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_BYTES) break;
    }
  } catch (fault) {
    throw new UnfitFile(`${file} cannot be read (${(fault as NodeJS.ErrnoException).code}).`);
  }
  if (length > MAX_BYTES) throw new UnfitFile(`${file} is larger than ${MAX_BYTES / 1024 / 1024} MiB.`);
  return Buffer.concat(chunks).toString('utf8');
}

function jsonOf(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UnfitFile(`${file} is not JSON.`);
  }
}

type Fault = [pointer: string, detail: string];

function evaluated(file: string, input: unknown) {
  try {
    return evaluateRequest(EvaluateIn.parse(input));
  } catch (fault) {
    if (fault instanceof z.ZodError)
      throw new UnfitFile(
        told(
          file,
          fault.issues.map(({ path, message }) => [pointerOf(path as string[]), message]),
        ),
      );
    if (fault instanceof Problem)
      throw new UnfitFile(
        told(
          file,
          fault.errors.map(({ pointer, detail }) => [pointer, detail]),
        ),
      );
    throw fault;
  }
}

/** What is wrong, with pointers into the file. */
function told(file: string, faults: Fault[]): string {
  const lines = faults.slice(0, SHOWN).map(([pointer, detail]) => {
    const option = /^\/(at|withdraw)$/.exec(pointer)?.[1];
    return `  ${option ? `--${option}` : pointer.replace(/^\/keys/, '') || 'the document'} ${detail}`;
  });
  const left = faults.length - lines.length;
  return [`${file} cannot be evaluated:`, ...lines, ...(left > 0 ? [`  and ${left} more`] : [])].join('\n');
}
