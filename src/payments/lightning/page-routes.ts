import { z } from 'zod';
import type { Db } from '../../platform/database/clients.ts';
import type { Feed, FeedEvent } from '../../platform/delivery/feed.ts';
import { page } from '../../platform/http/html.ts';
import { pages } from '../../platform/http/pages.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { STREAM_TIMEOUT_MS } from '../../platform/http/stream.ts';
import { answers } from '../../platform/http/wire.ts';
import { streamToPage } from '../pages/live.ts';
import { qrOf } from '../pages/qr-of.ts';
import { findByPageToken, type PurchaseView } from '../purchases/read.ts';
import { invoicePage, invoiceScript } from './page.ts';

const params = z.strictObject({ token: z.string().regex(/^[\w-]{43}$/) });
const REFRESH_S = 5;
const ANY = answers({ 200: z.string() });
const HIDDEN = { hide: true } as const;

/** The page of a purchase by Lightning: anybody with the link sees it, and can pay. */
export async function invoicePages(app: App, { db, feed }: { db: Db; feed: Feed }): Promise<void> {
  const find = async (token: string): Promise<PurchaseView> => {
    const view = await findByPageToken(db, token);
    if (view?.purchase.method === 'lightning') return view;
    throw new Problem('not_found', 'The address is not complete, or it was never given out. Ask for the link again.');
  };

  await pages(app, (inner) => {
    inner.get(
      '/lightning/:token',
      { config: { access: 'anyone', rate: 'read' }, schema: { ...HIDDEN, params, response: ANY } },
      async (request, reply) => {
        const view = await find(request.params.token);
        const { purchase, invoice } = view;
        // In upper case a code has fewer dots (BOLT 11, "Encoding Overview").
        const qr = invoice?.bolt11 ? await qrOf(`LIGHTNING:${invoice.bolt11.toUpperCase()}`) : null;
        return page(reply, {
          ...{ title: `${purchase.packageName} – Farebox`, body: invoicePage({ ...view, qr }) },
          ...(purchase.state === 'pending' ? { script: invoiceScript, refreshS: REFRESH_S } : {}),
        });
      },
    );

    inner.get(
      '/lightning/:token/events',
      {
        config: { access: 'anyone', rate: 'read' },
        exposeHeadRoute: false,
        handlerTimeout: STREAM_TIMEOUT_MS,
        schema: { ...HIDDEN, params, response: ANY },
      },
      async (request, reply) => {
        const { purchase } = await find(request.params.token);
        const isLast = ({ type }: FeedEvent) => type === 'payments.purchase_completed';
        return streamToPage(request, reply, { feed, page: 'lightning' }, purchase, isLast);
      },
    );
  });
}
