import { callerOf } from '../../platform/http/access.ts';
import { check } from '../../platform/http/limits.ts';
import type { App } from '../../platform/http/server.ts';
import { answers } from '../../platform/http/wire.ts';
import { EvaluateIn, evaluateRequest } from './request.ts';
import { EvaluationOut, renderEvaluation } from './wire.ts';

export const MAX_BYTES = 10 * 1024 * 1024; // ten thousand keys, which are long numbers, come to seven

/** What an exchange's fees mean. Nothing is kept, and no money moves. */
export function feeRoutes(app: App, { evaluationsPerMinute }: { evaluationsPerMinute: number }): void {
  // Each may cost as much of the processor as many other requests; counted before its body is read.
  const perAccount = check(app as never, 'fees', evaluationsPerMinute, (request) => callerOf(request).accountId);

  app.post(
    '/v1/fee-structures/evaluate',
    {
      config: { access: 'read', rate: 'read', idempotency: 'none' },
      bodyLimit: MAX_BYTES,
      onRequest: async (request, reply) => perAccount(request, reply),
      schema: {
        tags: ['fees'],
        summary: "What the fees of a GNU Taler exchange's coins mean",
        description:
          'Takes the `/keys` of an exchange, of today or as they were until 2022, 10 MiB at most. All amounts are exact; nothing is forbidden by the advice.',
        body: EvaluateIn,
        response: answers({ 200: EvaluationOut }),
      },
    },
    async (request) => renderEvaluation(evaluateRequest(request.body)),
  );
}
