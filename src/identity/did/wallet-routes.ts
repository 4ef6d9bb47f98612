import { z } from 'zod';
import { audit } from '../../platform/audit-log.ts';
import { callerOf } from '../../platform/http/access.ts';
import { listOf } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, headOut, idIn, idOut, idParam, Nothing, time } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import type { IdentityDeps } from '../routes.ts';
import { Jwt, SiweSignature, verifyAnswer } from './answers.ts';
import { consumeChallenge } from './challenges.ts';
import { checksummed } from './did.ts';
import { linkWallet, listWallets, type OwnWallet, unlinkWallet } from './wallets.ts';

const WalletOut = z
  .object({
    ...headOut('wallet'),
    id: idOut('wallet').nullable().describe('null for a derived wallet, which cannot be removed'),
    address: z.string(),
    did: z.string().describe('to which it belongs'),
    source: z.enum(['derived', 'linked']).describe('derived: the key of the DID is the key of the wallet'),
  })
  .meta({ id: 'Wallet' });

const render = ({ id, address, did, createdAt }: OwnWallet): z.infer<typeof WalletOut> => ({
  object: 'wallet',
  id: id === null ? null : toWire('wallet', id),
  created_at: time(createdAt),
  address: checksummed(address),
  did,
  source: id === null ? 'derived' : 'linked',
});

/** The caller's wallets: payments from them are the caller's. */
export function walletRoutes(app: App, deps: IdentityDeps): void {
  const { db } = deps;
  const tags = ['accounts'];

  app.get(
    '/v1/wallets',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'Wallets of the account', response: answers({ 200: listOf(WalletOut) }) },
    },
    async (request) => {
      const rows = await listWallets(db, callerOf(request).accountId);
      return { object: 'list' as const, data: rows.map(render), has_more: false, next_cursor: null };
    },
  );

  app.post(
    '/v1/wallets',
    {
      config: { access: 'login', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Link a wallet to a DID of the account, by both signatures over a challenge of purpose `wallet`',
        body: z.strictObject({ challenge_id: idIn('challenge'), did_jwt: Jwt, siwe_signature: SiweSignature }),
        response: answers({ 201: WalletOut }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const { challenge_id: challengeId, did_jwt: jwt, siwe_signature: siwe } = request.body;
      const wanted = { challengeId, purpose: 'wallet', subjectId: accountId } as const;
      const challenge = await verifyAnswer(deps, wanted, { jwt, siwe }, request.id);
      const linked = await db.transaction(async (tx) => {
        await consumeChallenge(tx, challenge);
        const wallet = await linkWallet(tx, accountId, challenge, { jwt, siwe });
        const detail = { did: wallet.did, address: wallet.address, challenge_id: challengeId };
        const entry = { actor: accountId, action: 'identity.wallet_linked', subjectId: wallet.id ?? accountId };
        await audit(tx, { ...entry, detail, requestId: request.id });
        return wallet;
      });
      reply.code(201).header('Location', '/v1/wallets');
      return render(linked);
    },
  );

  app.delete(
    '/v1/wallets/:id',
    {
      config: { access: 'login', rate: 'auth' },
      schema: { tags, summary: 'Unlink a wallet', params: idParam('wallet'), response: answers({ 204: Nothing }) },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const { id } = request.params;
      await db.transaction(async (tx) => {
        if (!(await unlinkWallet(tx, accountId, id))) throw new Problem('not_found');
        await audit(tx, { actor: accountId, action: 'identity.wallet_removed', subjectId: id, requestId: request.id });
      });
      return reply.code(204).send(null);
    },
  );
}
