import { type BuyDeps, type InvoiceDeps, shownInvoice } from '../../payments/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import type { Log } from '../../platform/log.ts';
import { buyForAsk, invoiceForAsk } from '../asks/pay.ts';
import { purposeOf } from '../asks/settle.ts';

/**
 * Invoices of our own wallet for what is asked over Nostr. The wallet is far away, so it is asked before the ask is made
 * public and outside of any transaction. Where it makes none the ask is made public nevertheless, and zapped.
 */
export interface Invoicing {
  /** Makes an invoice for what is due on an ask, if it can. False while another replica does: it is to be looked at later. */
  prepare(accountId: string, askId: string): Promise<boolean>;
  /** The one for exactly so many credits, and the page for people. */
  shown(on: Db | Tx, askId: string, credits: bigint): Promise<{ bolt11: string; page: string } | undefined>;
}

/** Jobs do not wait for a wallet again and again that has just not answered. */
const AWAY_MS = 30_000;

export function createInvoicing(deps: BuyDeps & InvoiceDeps & { log: Log }): Invoicing {
  const { db, lightning, log, publicUrl } = deps;
  let awayUntil = 0;
  return {
    prepare: async (accountId, askId) => {
      if (lightning === null || Date.now() < awayUntil) return true;
      try {
        const buying = { rail: 'lightning', usesCredits: false, returnUri: null } as const;
        const { purchase } = await db.transaction((tx) => buyForAsk(tx, deps, accountId, askId, buying));
        if (purchase) await invoiceForAsk(deps, accountId, askId, purchase.id);
      } catch (fault) {
        if (!(fault instanceof Problem)) throw fault;
        if (fault.code === 'request_in_flight') return false;
        if (fault.code === 'provider_unavailable') awayUntil = Date.now() + AWAY_MS;
        log.info({ ask: askId, code: fault.code }, 'there is no invoice for a job of Nostr; it can be zapped');
      }
      return true;
    },
    shown: async (on, askId, credits) => {
      const invoice = await shownInvoice(on, purposeOf({ id: askId }), credits);
      return invoice && { bolt11: invoice.bolt11, page: `${publicUrl}/lightning/${invoice.pageToken}` };
    },
  };
}
