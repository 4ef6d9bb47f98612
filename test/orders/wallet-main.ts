import { Command } from 'commander';
import { walletCommand } from '../../src/payments/wallet/command.ts';

// `farebox wallet` and nothing else of the command line, which takes seconds to load: for tests that start it by the dozen.
const program = new Command('farebox').exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
walletCommand(program);
await program.parseAsync();
