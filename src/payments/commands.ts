import type { Command } from 'commander';
import { createAlarm } from '../platform/audit-log.ts';
import type { WithInstallation } from '../platform/commands.ts';
import { createLog } from '../platform/log.ts';
import { createMetrics } from '../platform/metrics.ts';
import { renderDifference } from './differences.ts';
import { omiseRail } from './rails/configured.ts';
import { reconcile } from './reconcile/report.ts';

/** `reconcile`: exit code 0 when the books agree, 1 when they differ, 2 when the provider could not be asked. */
export function paymentsCommands(program: Command, withInstallation: WithInstallation): void {
  program
    .command('reconcile')
    .description("compare the provider's charges with the ledger, and credit what was missed")
    .option('--days <n>', 'how far back', '30')
    .option('--json', 'for machines')
    .action(async ({ days, json }: { days: string; json?: boolean }) => {
      if (!/^([1-9]\d?|[12]\d\d|3[0-5]\d|36[0-5])$/.test(days)) throw new Error('--days must be 1 to 365');
      await withInstallation(async ({ config, db, print }) => {
        const log = createLog('warn', process.stderr); // what is printed may be read by a machine
        const metrics = createMetrics();
        const rail = omiseRail(config, { log, metrics });
        const result = await reconcile({ db, rail, metrics, log, alarm: createAlarm(db, log, metrics) }, Number(days));
        rail.close();
        if (json) print(JSON.stringify({ ...result, differences: result.differences.map(renderDifference) }));
        else printReport(result, print);
        process.exitCode = result.compared === null ? 2 : result.differences.length > 0 ? 1 : 0;
      });
    });
}

function printReport(result: Awaited<ReturnType<typeof reconcile>>, print: (line: string) => void): void {
  print(
    result.compared === null
      ? 'The provider could not be asked to the end.'
      : `compared     ${result.compared} charges of the provider`,
  );
  print(`credited     ${result.credited} purchases that had been missed`);
  print(`waiting      ${result.waiting.attempts} attempts, ${result.waiting.notifications} notifications`);
  print(`differences  ${result.differences.length}`);
  for (const row of result.differences.map(renderDifference)) {
    print(`  ${row.found_at.slice(0, 16)}  ${row.kind.padEnd(22)} ${row.reference}  ${row.purchase_id ?? ''}`);
  }
}
