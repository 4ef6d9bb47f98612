import { Command } from 'commander';

/** `farebox …`: what an operator does outside of requests. Each context brings its own commands. */
const program = new Command('farebox')
  .description("The operator's command line. It reads the same settings as the server.")
  .option('--debug', 'show the stack of a fault')
  .showHelpAfterError()
  // What was asked wrongly could not be done: 1 is the answer of commands that found something.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

/** What brings which commands. Only the part that is asked for is loaded: all together take a second to start. */
const parts: { commands: string[]; add(): Promise<void> }[] = [
  {
    commands: ['bootstrap', 'migrate', 'maintain'],
    add: async () => (await import('./platform/database/commands.ts')).databaseCommands(program),
  },
  {
    commands: ['operator', 'keys'],
    add: async () => (await import('./identity/commands.ts')).identityCommands(program, await installation()),
  },
  { commands: ['fees'], add: async () => (await import('./payments/fees/command.ts')).feesCommand(program) },
  { commands: ['wallet'], add: async () => (await import('./payments/wallet/command.ts')).walletCommand(program) },
  {
    commands: ['reconcile'],
    add: async () => (await import('./payments/commands.ts')).paymentsCommands(program, await installation()),
  },
  {
    commands: ['audit'],
    add: async () => {
      const [{ auditCommand }, { allChecks }] = await Promise.all([
        import('./platform/audit/command.ts'),
        import('./audit.ts'),
      ]);
      auditCommand(program, allChecks);
    },
  },
];

const installation = async () => (await import('./platform/commands.ts')).withInstallation;

try {
  const asked = process.argv.slice(2).find((word) => !word.startsWith('-'));
  const wanted = parts.filter(({ commands }) => commands.includes(asked ?? ''));
  for (const part of wanted.length > 0 ? wanted : parts) await part.add();
  await program.parseAsync();
} catch (fault) {
  process.stderr.write(`${await explain(fault)}\n`);
  process.exitCode = 2;
}

/** What happened, and what to do; a stack only for who asks for it. */
async function explain(fault: unknown): Promise<string> {
  if (!(fault instanceof Error)) return String(fault);
  if (program.opts()['debug']) return fault.stack ?? fault.message;
  const [{ ConfigFault }, { SchemaFault }, { Problem }] = await Promise.all([
    import('./platform/config.ts'),
    import('./platform/database/migrate.ts'),
    import('./platform/http/problem.ts'),
  ]);
  if (fault instanceof ConfigFault || fault instanceof SchemaFault) return fault.message;
  const field = fault instanceof Problem ? fault.errors[0] : undefined;
  if (field) return `${field.pointer.slice(1)} ${field.detail}`;
  return `${fault.message}\nRun it again with --debug for the details.`;
}
