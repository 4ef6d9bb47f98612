import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { toWire } from '../../platform/ids.ts';
import type { Terms as ChainTerms } from '../rails/evm/terms.ts';
import type { Late } from './tables.ts';

/** What the payer agrees to. Written once, when the request is made; hashed, signed and checked in exactly this form. */
export interface Terms extends ChainTerms {
  version: 1;
  request: string;
  /** Our own origin. */
  service: string;
  payer: string;
  description: string;
  /** Whether what comes after the end pays, too, or is kept for a refund. */
  late: Late;
  /** RFC 3339, UTC. */
  expires_at: string;
}

/** Its one spelling (RFC 8785), and the SHA-256 of that in hex. */
export function freezeTerms(
  id: string,
  publicUrl: string,
  order: ChainTerms & { payer: string; description: string; late: Late; expiresAt: Date },
): { terms: string; termsHash: string } {
  const { chain, asset, recipient, amount, payer, description, late, expiresAt } = order;
  const value: Terms = {
    ...{ version: 1, request: toWire('paymentRequest', id), service: new URL(publicUrl).origin },
    ...{ chain, asset, recipient, amount, payer, description, late },
    expires_at: expiresAt.toISOString(),
  };
  const terms = canonicalize(value);
  if (terms === undefined) throw new Error('terms that cannot be written');
  return { terms, termsHash: createHash('sha256').update(terms).digest('hex') };
}
