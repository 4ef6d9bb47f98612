import { z } from 'zod';
import type { Feed, FeedEvent } from '../../platform/delivery/feed.ts';
import { page } from '../../platform/http/html.ts';
import { pages } from '../../platform/http/pages.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { STREAM_TIMEOUT_MS } from '../../platform/http/stream.ts';
import { answers } from '../../platform/http/wire.ts';
import { findRequestByToken, paymentUriOf, type RequestView } from '../requests/read.ts';
import type { RequestDeps } from '../requests/read-routes.ts';
import { streamToPage } from './live.ts';
import { requestPage } from './payment-request.ts';
import { qrOf } from './qr-of.ts';
import { liveScript } from './scripts.ts';

const params = z.strictObject({ token: z.string().regex(/^[\w-]{43}$/) });
const REFRESH_S = 5;
const ANY = answers({ 200: z.string() });
const HIDDEN = { hide: true } as const;

/** The page of a payment request: anybody with the link sees it. */
export async function requestPages(app: App, { db, evm, feed }: RequestDeps & { feed: Feed }): Promise<void> {
  const find = async (token: string): Promise<RequestView> => {
    const view = await findRequestByToken(db, token);
    if (!view)
      throw new Problem('not_found', 'The address is not complete, or it was never given out. Ask for the link again.');
    return view;
  };

  await pages(app, (inner) => {
    inner.get(
      '/pay/:token',
      { config: { access: 'anyone', rate: 'read' }, schema: { ...HIDDEN, params, response: ANY } },
      async (request, reply) => {
        const view = await find(request.params.token);
        const uri = paymentUriOf(view.request);
        const payment = uri === null ? null : { uri, qr: await qrOf(uri) };
        const asset = evm.assets.find(({ id }) => id === view.request.asset);
        return page(reply, {
          title: `${view.request.description} – Farebox`,
          body: requestPage({ ...view, payment, chainName: asset?.chainName ?? view.request.chain }),
          script: liveScript,
          refreshS: REFRESH_S,
        });
      },
    );

    inner.get(
      '/pay/:token/events',
      {
        config: { access: 'anyone', rate: 'read' },
        exposeHeadRoute: false,
        handlerTimeout: STREAM_TIMEOUT_MS,
        schema: { ...HIDDEN, params, response: ANY },
      },
      async (request, reply) => {
        const { request: asked } = await find(request.params.token);
        // Everything else may yet be undone.
        const isLast = ({ type }: FeedEvent) => type === 'payments.payment_request_cancelled';
        return streamToPage(request, reply, { feed, page: 'pay' }, asked, isLast);
      },
    );
  });
}
