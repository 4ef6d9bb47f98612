import { bech32 } from '@scure/base';
import fc from 'fast-check';
import { verifyEvent } from 'nostr-tools/pure';
import { describe, expect, test } from 'vitest';
import { RECEIPT_CODES, type ReceiptCode } from '../../src/payments/rails/lightning/receipt-codes.ts';
import type { NostrEvent } from '../../src/platform/nostr/event.ts';
import {
  ASK,
  asked,
  at,
  customer,
  judge,
  plus,
  provider,
  replacing,
  rules,
  stranger,
  us,
  without,
  zap,
} from './zaps.ts';

const OTHER = 'b6'.repeat(32);
const lnurl = (text: string) => bech32.encode('lnurl', bech32.toWords(new TextEncoder().encode(text)), false);
const ours = { ...rules, lnurl: lnurl('https://pay.example.com/.well-known/lnurlp/us') };
const onlyWith = (payer: string) => ({ ask: { ...asked, payer } });
const tampered = (event: NostrEvent): NostrEvent => ({ ...event, content: 'tampered' });

type Bad = [about: string, code: ReceiptCode, receipt: unknown, terms?: Parameters<typeof judge>[1]];

/** One of each at least: number 12 refuses nothing, 15 is a part payment (below). */
const refused: Record<number, Bad[]> = {
  1: [
    ['nothing at all', 'malformed', {}],
    ['a tag that is none', 'malformed', { ...zap(), tags: [['p', us.public], 'e'] }],
    ['a receipt of a megabyte', 'malformed', zap({ receipt: (one) => ({ ...one, content: 'x'.repeat(1_000_000) }) })],
    ['another kind', 'wrong_kind', zap({ receipt: (one) => ({ ...one, kind: 9736 }) })],
  ],
  3: [
    ['content that was changed', 'bad_signature', zap({ receiptEvent: tampered })],
    [
      'the same, with the id of the change',
      'bad_signature',
      zap({ receiptEvent: (one) => ({ ...tampered(one), id: OTHER }) }),
    ],
    ['the signature of another receipt', 'bad_signature', zap({ receiptEvent: (one) => ({ ...one, sig: zap().sig }) })],
  ],
  4: [
    ['two descriptions', 'tag_count', zap({ receipt: plus(['description', '{}']) })],
    ['no invoice', 'tag_count', zap({ receipt: without('bolt11') })],
    ['two preimages', 'tag_count', zap({ receipt: plus(['preimage', '']) })],
    ['two amounts', 'tag_count', zap({ receipt: plus(['amount', '21000'], ['amount', '21000']) })],
  ],
  5: [
    ['a receipt for somebody else', 'wrong_recipient', zap({ receipt: replacing('p', stranger.public) })],
    ['a request for somebody else', 'request_wrong_recipient', zap({ request: replacing('p', stranger.public) })],
    ['a request for two', 'request_wrong_recipient', zap({ request: plus(['p', stranger.public]) })],
    ['an installation that nobody can zap', 'wrong_recipient', zap(), { under: { ...rules, recipient: null } }],
  ],
  6: [
    ['a description that is no JSON', 'bad_description', zap({ description: 'thanks!' })],
    [
      'a description without end',
      'bad_description',
      zap({ request: (one) => ({ ...one, content: 'x'.repeat(17_000) }) }),
    ],
    ['a note in place of a request', 'not_a_zap_request', zap({ request: (one) => ({ ...one, kind: 1 }) })],
    ['a request that was changed', 'bad_request_signature', zap({ requestEvent: tampered })],
  ],
  7: [
    ['a request for no event', 'request_e_count', zap({ request: without('e') })],
    ['a request for two events', 'request_e_count', zap({ request: plus(['e', OTHER]) })],
    ['an event that asks nothing', 'request_for_other_event', zap(), { ask: null }],
    ['a receipt about another event than its request', 'receipt_e_differs', zap({ receipt: replacing('e', OTHER) })],
  ],
  8: [
    ['a payer who has not signed', 'payer_mismatch', zap({ receipt: replacing('P', stranger.public) })],
    ['somebody else who pays', 'other_payer', zap({ requestKey: stranger }), onlyWith(customer.public)],
  ],
  9: [
    ['an invoice of the real network', 'wrong_network', zap({ invoice: { network: 'bc' } })],
    ['an invoice without an amount', 'amountless_invoice', zap({ invoice: { amountMsat: null } })],
  ],
  10: [
    ['less in the invoice than in the request', 'amount_differs', zap({ invoice: { amountMsat: 1_000n } })],
    ['an amount that is no number', 'amount_differs', zap({ request: replacing('amount', '0x5208') })],
    ['another amount in the receipt', 'amount_differs', zap({ receipt: plus(['amount', '21001']) })],
  ],
  14: [['a payment that was counted', 'replayed_payment', zap(), { counted: true }]],
  16: [
    [
      'a request that was made for another address',
      'other_lnurl',
      zap({ request: plus(['lnurl', lnurl('https://elsewhere.example.com/')]) }),
      { under: ours },
    ],
  ],
};

// REQ V5
describe.each(Object.entries(refused))('rule %s refuses', (rule, bad) => {
  test.each(bad)('%s', (_, code, receipt, terms) => {
    expect(judge(receipt, terms)).toEqual({ verdict: 'refused', code });
    expect(RECEIPT_CODES[code].rule).toBe(Number(rule));
  });
});

const formerly = [{ key: provider.public, from: null, until: new Date(at(-60) * 1000) }];
const doubtful: [rule: number, ...Bad][] = [
  [2, 'a receipt that the payer made', 'signer_not_provider', zap({ receiptKey: customer })],
  [2, 'a provider of former times', 'signer_not_provider', zap(), { under: { ...rules, providers: formerly } }],
  [9, 'an invoice that cannot be read', 'bad_invoice', zap({ bolt11: (text) => `${text}q` })],
  [11, 'one hash for everybody', 'description_hash_mismatch', zap({ invoice: { descriptionHash: OTHER } })],
  [11, 'a plain description', 'description_hash_mismatch', zap({ invoice: { descriptionHash: '' } })],
  [13, 'a receipt of tomorrow', 'future', zap({ receipt: (one) => ({ ...one, created_at: at(1440) }) })],
  [13, 'a receipt from before', 'too_old', zap({ receipt: (one) => ({ ...one, created_at: at(-10) }) })],
  [13, 'an invoice from before', 'too_old', zap({ invoice: { createdAt: new Date(at(-10) * 1000) } })],
];

test.each(doubtful)('rule %i sets aside %s, for a person to look at', (rule, _, code, receipt, terms) => {
  expect(judge(receipt, terms)).toMatchObject({ verdict: 'quarantined', code });
  expect(RECEIPT_CODES[code].rule).toBe(rule);
});

test('what is doubtful and wrong besides is refused, not shown to anybody', () => {
  expect(judge(zap({ receiptKey: customer, receiptEvent: tampered }))).toMatchObject({ code: 'bad_signature' });
  expect(judge(zap({ receiptKey: customer }), { ask: null })).toMatchObject({ code: 'request_for_other_event' });
  expect(judge(zap({ receiptKey: customer }), { counted: true })).toMatchObject({ code: 'replayed_payment' });
  const bolt11 = () => 'what cannot be read';
  expect(judge(zap({ bolt11, receiptEvent: tampered }))).toEqual({ verdict: 'refused', code: 'bad_signature' });
  expect(judge(zap({ bolt11, requestEvent: tampered }))).toEqual({ verdict: 'refused', code: 'bad_request_signature' });
  const elsewhere = plus(['lnurl', lnurl('https://elsewhere.example.com/')]);
  expect(judge(zap({ bolt11, request: elsewhere }), { under: ours })).toMatchObject({ code: 'other_lnurl' });
});

test('what a stranger says of an invoice that cannot be read is a stranger’s word', () => {
  const receipt = zap({ receiptKey: customer, bolt11: () => 'what cannot be read' });
  expect(judge(receipt)).toEqual({ verdict: 'quarantined', code: 'signer_not_provider', payment: null });
});

test.each<[about: string, verdict: string, amountMsat: bigint, receipt: NostrEvent, terms?: Bad[3]]>([
  ['exactly what is asked', 'paid', 21_000n, zap()],
  ['an invoice in upper case', 'paid', 21_000n, zap({ bolt11: (text) => text.toUpperCase() })],
  [
    'more than asked, without an amount tag',
    'overpaid',
    50_000n,
    zap({ request: without('amount'), invoice: { amountMsat: 50_000n } }),
  ],
  [
    'less than asked: a part, and what then is policy',
    'underpaid',
    20_999n,
    zap({ request: without('amount'), invoice: { amountMsat: 20_999n } }),
  ],
  ['no e and no P in the receipt', 'paid', 21_000n, zap({ receipt: (one) => without('P')(without('e')(one)) })],
  ['whoever pays for somebody else', 'paid', 21_000n, zap({ requestKey: stranger })],
  ['the payer who was named', 'paid', 21_000n, zap(), onlyWith(customer.public)],
  [
    'a lightning address where an LNURL belongs',
    'paid',
    21_000n,
    zap({ request: plus(['lnurl', 'us@example.com']) }),
    { under: ours },
  ],
  ['our LNURL', 'paid', 21_000n, zap({ request: plus(['lnurl', (ours.lnurl ?? '').toUpperCase()]) }), { under: ours }],
  ['a slow payer', 'paid', 21_000n, zap(), { ask: { ...asked, issuedAt: new Date(at(-9_000) * 1000) } }],
  [
    'no description hash, where that is allowed',
    'paid',
    21_000n,
    zap({ invoice: { descriptionHash: '' } }),
    { under: { ...rules, descriptionHash: 'bound_if_present' } },
  ],
  [
    'one hash for everybody, where none is asked for',
    'paid',
    21_000n,
    zap({ invoice: { descriptionHash: OTHER } }),
    { under: { ...rules, descriptionHash: 'off' } },
  ],
])('%s is taken', (_, verdict, amountMsat, receipt, terms) => {
  expect(judge(receipt, terms)).toMatchObject({ verdict, payment: { amountMsat, eventId: ASK } });
});

test.each([
  ['hashes', zap()],
  ['unrelated', zap({ receipt: replacing('preimage', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6') })],
  ['unrelated', zap({ receipt: replacing('preimage', OTHER) })],
  ['absent', zap({ receipt: without('preimage') })],
] as const)('rule 12: a preimage is evidence and no more (%s)', (preimage, receipt) => {
  expect(judge(receipt)).toMatchObject({ verdict: 'paid', payment: { preimage } });
});

test('a hash that is there but of something else is doubtful even where none is required', () => {
  const under = { ...rules, descriptionHash: 'bound_if_present' } as const;
  expect(judge(zap({ invoice: { descriptionHash: OTHER } }), { under })).toMatchObject({
    code: 'description_hash_mismatch',
  });
});

test('a verdict that a library has left on an object is not believed', () => {
  const good = zap();
  expect(verifyEvent(good)).toBe(true);
  const spread = { ...good, content: 'changed', tags: good.tags };
  expect(verifyEvent(spread), 'the trap is there').toBe(true);
  expect(judge(spread)).toEqual({ verdict: 'refused', code: 'bad_signature' });
  good.content = 'changed';
  expect(judge(good)).toEqual({ verdict: 'refused', code: 'bad_signature' });
});

test('nothing that can be sent makes it throw', () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      expect(judge(value)).toMatchObject({ code: 'malformed' });
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.array(fc.string(), { minLength: 1 })), (tags) => {
      expect(judge(zap({ receipt: (one) => ({ ...one, tags }) }))).toHaveProperty('code');
    }),
    { numRuns: 20 },
  );
});

test('two copies of one payment that a provider has signed anew have one payment hash', () => {
  const preimage = 'c7'.repeat(32);
  const [one, other] = [
    zap({ invoice: { preimage } }),
    zap({ invoice: { preimage }, receipt: plus(['alt', 'again']) }),
  ];
  const hashes = [one, other].map((receipt) => {
    const match = judge(receipt);
    return 'payment' in match ? match.payment?.paymentHash : undefined;
  });
  expect(one.id).not.toBe(other.id);
  expect(new Set(hashes).size).toBe(1);
});
