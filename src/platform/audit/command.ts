import type { Command } from 'commander';
import { databaseOptions, print } from '../commands.ts';
import { readConfig } from '../config.ts';
import { checkSchema, rolesOf } from '../database/migrate.ts';
import type { Check } from './check.ts';
import { duration, grouped, report } from './report.ts';
import { renderCheck } from './routes.ts';
import { type AuditResult, isSound, openAuditClient, type Progress, restOf, runAudit } from './run-audit.ts';

interface Options {
  snapshot?: boolean;
  json?: boolean;
  only?: string[];
}

/** `audit`: exit code 0 when everything holds, 1 when something is broken, 2 when it could not be found out. */
export function auditCommand(program: Command, checks: Check[]): void {
  const idsOf = (value: string) => {
    const ids = value.split(',').map((id) => id.trim().toUpperCase());
    const unknown = ids.filter((id) => !checks.some((check) => check.id === id));
    if (unknown.length > 0) throw new Error(`There is no invariant ${unknown.join(', ')}.`);
    return ids;
  };
  program
    .command('audit')
    .description(
      'check everything that must hold: every transfer, hash, purchase and run (exit code 1: something does not)',
    )
    .option('--snapshot', 'of a database that nobody works with, such as a restored one: all at one moment')
    .option('--only <ids>', 'these invariants alone, such as L03,P01', idsOf)
    .option('--json', 'for machines')
    .action(async ({ snapshot, json, only }: Options) => {
      const config = readConfig(process.env);
      const connection = { ...databaseOptions(config), url: config.AUDITOR_DATABASE_URL ?? config.DATABASE_URL };
      const mode = snapshot ? 'snapshot' : 'live';
      const chosen = checks.filter(({ id }) => only?.includes(id) ?? !config.AUDIT_EXCEPT.includes(id));
      const client = openAuditClient({ ...connection, applicationName: 'farebox:audit' }, mode);
      try {
        await checkSchema(client, rolesOf(config));
        const progress = process.stderr.isTTY ? showProgress() : undefined;
        const result = await runAudit(client, chosen, mode, { rest: restOf(mode), onProgress: progress?.show });
        progress?.clear();
        print(json ? JSON.stringify(machineReadable(result)) : humanReadable(result));
        process.exitCode = isSound(result) ? 0 : 1;
      } finally {
        await client.end({ timeout: 1 });
      }
    });
}

const machineReadable = (result: AuditResult) => ({
  object: 'audit',
  mode: result.mode,
  sound: isSound(result),
  started_at: result.startedAt.toISOString(),
  finished_at: result.finishedAt.toISOString(),
  checks: result.checks.map(renderCheck),
});

const WIDEST = 110; // lines that the eye can follow

function humanReadable({ checks, startedAt, finishedAt }: AuditResult): string {
  const width = Math.min(process.stdout.columns || WIDEST, WIDEST);
  const color = process.stdout.isTTY === true && !process.env['NO_COLOR'];
  return report(checks, { width, color }, finishedAt.getTime() - startedAt.getTime()).join('\n');
}

const BAR = 24;
const CLEAR_LINE = '\r\x1b[2K';

/** One line on the terminal that tells how far it is. */
function showProgress() {
  let over = '';
  let began = 0;
  return {
    show: (progress: Progress) => {
      if (progress.over !== over) [over, began] = [progress.over, Date.now()];
      const part = progress.about > 0 ? Math.min(1, progress.rows / progress.about) : 0;
      const bar = '█'.repeat(Math.round(part * BAR)).padEnd(BAR, '░');
      process.stderr.write(`${CLEAR_LINE}  ${bar}  ${grouped(progress.rows)} ${over}  ${duration(Date.now() - began)}`);
    },
    clear: () => process.stderr.write(CLEAR_LINE),
  };
}
