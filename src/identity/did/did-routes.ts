import { z } from 'zod';
import { audit } from '../../platform/audit-log.ts';
import { callerOf } from '../../platform/http/access.ts';
import { listOf } from '../../platform/http/lists.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, head, headOut, idIn, idParam, Nothing } from '../../platform/http/wire.ts';
import type { IdentityDeps } from '../routes.ts';
import { Proof, signaturesOf, verifyAnswer } from './answers.ts';
import { consumeChallenge } from './challenges.ts';
import { checksummed } from './did.ts';
import { type LinkedDid, linkDid, listDids, removeDid } from './dids.ts';

const DidOut = z
  .object({ ...headOut('did'), did: z.string(), wallet: z.string().nullable().describe('address of the key itself') })
  .meta({ id: 'Did' });

const render = (row: LinkedDid): z.infer<typeof DidOut> => ({
  ...head('did', row),
  did: row.did,
  wallet: row.wallet === null ? null : checksummed(row.wallet),
});

/** The DIDs that open the caller's account. */
export function didRoutes(app: App, deps: IdentityDeps): void {
  const { db, authenticator } = deps;
  const tags = ['accounts'];

  app.get(
    '/v1/me/dids',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'DIDs that open the account', response: answers({ 200: listOf(DidOut) }) },
    },
    async (request) => {
      const rows = await listDids(db, callerOf(request).accountId);
      return { object: 'list' as const, data: rows.map(render), has_more: false, next_cursor: null };
    },
  );

  app.post(
    '/v1/me/dids',
    {
      config: { access: 'login', rate: 'auth', idempotency: 'none' },
      schema: {
        tags,
        summary: 'Let a DID open the account, by the answer to a challenge of purpose `link`; needs a recent log-in',
        body: z.strictObject({ challenge_id: idIn('challenge'), proof: Proof }),
        response: answers({ 201: DidOut }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { accountId } = caller;
      const { challenge_id: challengeId, proof } = request.body;
      const wanted = { challengeId, purpose: 'link', subjectId: accountId } as const;
      const challenge = await verifyAnswer(deps, wanted, signaturesOf(proof), request.id);
      const linked = await db.transaction(async (tx) => {
        await consumeChallenge(tx, challenge);
        const row = await linkDid(tx, caller, challenge);
        const detail = { did: row.did, challenge_id: challengeId };
        const entry = { actor: accountId, action: 'identity.did_linked', subjectId: row.id };
        await audit(tx, { ...entry, detail, requestId: request.id });
        return row;
      });
      reply.code(201).header('Location', '/v1/me/dids');
      return render(linked);
    },
  );

  app.delete(
    '/v1/me/dids/:id',
    {
      config: { access: 'login', rate: 'auth' },
      schema: {
        tags,
        summary: 'Let a DID open the account no more; ends all sessions, and needs a recent log-in',
        params: idParam('did'),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { accountId } = caller;
      await db.transaction(async (tx) => {
        const removed = await removeDid(tx, caller, request.params.id);
        if (!removed) throw new Problem('not_found');
        const entry = { actor: accountId, action: 'identity.did_removed', subjectId: removed.id };
        await audit(tx, { ...entry, detail: { did: removed.did }, requestId: request.id });
      });
      authenticator.forget(accountId);
      return reply.code(204).send(null);
    },
  );
}
