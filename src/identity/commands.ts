import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { audit } from '../platform/audit-log.ts';
import type { WithInstallation } from '../platform/commands.ts';
import { toWire } from '../platform/ids.ts';
import { Email, findByEmail, offerReset, register } from './accounts.ts';
import { rotateServiceKey } from './did/service-did.ts';
import { isInForce, revokeKey, rotateKeys } from './keys.ts';

/** `operator`, `keys`: what must be possible before anybody can log in. */
export function identityCommands(program: Command, withInstallation: WithInstallation): void {
  const operator = program.command('operator').description('accounts of operators');

  operator
    .command('create')
    .description('open an account with the operator role')
    .requiredOption('--email <address>')
    .option('--password-stdin', 'read the password from standard input; else one is made and shown once')
    .action(async ({ email, passwordStdin }: { email: string; passwordStdin?: boolean }) => {
      if (!Email.safeParse(email).success) throw new Error(`${email} is not an e-mail address`);
      const password = passwordStdin ? (await text(process.stdin)).trimEnd() : randomBytes(18).toString('base64url');
      await withInstallation(async ({ db, print }) => {
        const account = await register(db, { email, password, role: 'operator' });
        await audit(db, { actor: 'cli', action: 'identity.operator_created', subjectId: account.id });
        print(`account   ${toWire('account', account.id)}`);
        print(`e-mail    ${email}`);
        if (!passwordStdin) print(`password  ${password}   (shown this once)`);
      });
    });

  operator
    .command('reset-password')
    .description('print a one-time link by which an account can set a new password')
    .requiredOption('--email <address>')
    .action(async ({ email }: { email: string }) => {
      await withInstallation(async ({ db, config, print }) => {
        const account = await findByEmail(db, email);
        if (!account) throw new Error('no account has this e-mail address');
        const { token, expiresAt } = await db.transaction(async (tx) => {
          await audit(tx, { actor: 'cli', action: 'identity.password_reset_offered', subjectId: account.id });
          return offerReset(tx, account.id);
        });
        print(`${config.PUBLIC_URL}/reset-password/${token}`);
        print(`valid until ${expiresAt.toISOString()}`);
      });
    });

  const keys = program.command('keys').description('keys that sign access tokens and receipts');

  keys
    .command('rotate')
    .description('add a key; it signs in five minutes, the older ones verify for 32 days more')
    .action(async () => {
      await withInstallation(async ({ db, vault, print }) => {
        const { kid, signsFrom } = await rotateKeys(db, vault);
        await audit(db, { actor: 'cli', action: 'identity.key_rotated', subjectId: kid });
        print(`${kid} signs from ${signsFrom.toISOString()}`);
      });
    });

  keys
    .command('revoke')
    .description('end a key at once; every token that it signed is void within half a minute')
    .argument('<kid>')
    .action(async (kid: string) => {
      await withInstallation(async ({ db, vault, print }) => {
        if (!(await isInForce(db, kid))) throw new Error('there is no such key in force');
        await rotateKeys(db, vault);
        await revokeKey(db, kid);
        await audit(db, { actor: 'cli', action: 'identity.key_revoked', subjectId: kid });
        print(`${kid} is revoked`);
      });
    });

  keys
    .command('rotate-did')
    .description('sign receipts by a new DID from now on; those of the former one verify on')
    .action(async () => {
      await withInstallation(async ({ db, vault, print }) => {
        const did = await rotateServiceKey(db, vault);
        await audit(db, { actor: 'cli', action: 'identity.service_key_rotated', subjectId: did });
        print(did);
      });
    });
}
