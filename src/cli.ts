import { Command } from 'commander';
import { allChecks } from './audit.ts';
import { identityCommands } from './identity/index.ts';
import { paymentsCommands } from './payments/index.ts';
import { auditCommand } from './platform/audit/command.ts';
import { withInstallation } from './platform/commands.ts';
import { ConfigFault } from './platform/config.ts';
import { databaseCommands } from './platform/database/commands.ts';
import { SchemaFault } from './platform/database/migrate.ts';
import { Problem } from './platform/http/problem.ts';

/** `farebox …`: what an operator does outside of requests. Each context brings its own commands. */
const program = new Command('farebox')
  .description("The operator's command line. It reads the same settings as the server.")
  .option('--debug', 'show the stack of a fault')
  .showHelpAfterError()
  // What was asked wrongly could not be done: 1 is the answer of commands that found something.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

databaseCommands(program);
identityCommands(program, withInstallation);
paymentsCommands(program, withInstallation);
auditCommand(program, allChecks);

try {
  await program.parseAsync();
} catch (fault) {
  process.stderr.write(`${explain(fault)}\n`);
  process.exitCode = 2;
}

/** What happened, and what to do; a stack only for who asks for it. */
function explain(fault: unknown): string {
  if (!(fault instanceof Error)) return String(fault);
  if (program.opts()['debug']) return fault.stack ?? fault.message;
  if (fault instanceof ConfigFault || fault instanceof SchemaFault) return fault.message;
  const field = fault instanceof Problem ? fault.errors[0] : undefined;
  if (field) return `${field.pointer.slice(1)} ${field.detail}`;
  return `${fault.message}\nRun it again with --debug for the details.`;
}
