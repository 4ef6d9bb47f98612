import { createHash, randomBytes } from 'node:crypto';
import bolt11 from 'bolt11';

/** Invoices of a node that there is not, signed as a node signs them. */

export interface Mint {
  amountMsat: bigint | null;
  /** Text, or the SHA-256 of a text that lies elsewhere. */
  description?: string;
  descriptionHash?: string;
  createdAt?: Date;
  expiryS?: number;
  network?: 'bc' | 'tb' | 'tbs' | 'bcrt';
  preimage?: string;
}

export interface Minted {
  invoice: string;
  paymentHash: string;
  preimage: string;
  createdAt: Date;
  expiresAt: Date;
}

const NODE_KEY = 'e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734'; // that of the examples in BOLT 11
const SECRET = '11'.repeat(32);

export function mintInvoice(order: Mint): Minted {
  const preimage = order.preimage ?? randomBytes(32).toString('hex');
  const paymentHash = createHash('sha256').update(Buffer.from(preimage, 'hex')).digest('hex');
  const seconds = Math.floor((order.createdAt?.getTime() ?? Date.now()) / 1000);
  const expiryS = order.expiryS ?? 600;
  const network = { bech32: order.network ?? 'bcrt', pubKeyHash: 0x6f, scriptHash: 0xc4, validWitnessVersions: [0] };
  const unsigned = {
    ...{ network, timestamp: seconds },
    ...(order.amountMsat === null ? {} : { millisatoshis: order.amountMsat.toString() }),
    tags: [
      { tagName: 'payment_hash', data: paymentHash },
      { tagName: 'payment_secret', data: SECRET },
      order.descriptionHash
        ? { tagName: 'purpose_commit_hash', data: order.descriptionHash }
        : { tagName: 'description', data: order.description ?? '' },
      { tagName: 'expire_time', data: expiryS },
      { tagName: 'min_final_cltv_expiry', data: 18 },
      {
        tagName: 'feature_bits',
        data: {
          word_length: 4,
          var_onion_optin: { required: true, supported: true },
          payment_secret: { required: true, supported: true },
        },
      },
    ],
  };
  const { paymentRequest } = bolt11.sign(bolt11.encode(unsigned, false), NODE_KEY);
  if (!paymentRequest) throw new Error('no invoice was made');
  return {
    ...{ invoice: paymentRequest, paymentHash, preimage },
    createdAt: new Date(seconds * 1000),
    expiresAt: new Date((seconds + expiryS) * 1000),
  };
}
