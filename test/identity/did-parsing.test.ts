import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bytesToBase58, multibaseToBytes } from 'did-jwt';
import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, test } from 'vitest';
import { parseDid } from '../../src/identity/index.ts';
import { Problem } from '../../src/platform/http/problem.ts';
import { keyHolder } from '../harness/dids.ts';

function refusal(text: string): string {
  try {
    return `accepted as ${parseDid(text).did}`;
  } catch (fault) {
    if (fault instanceof Problem) return fault.code;
    throw fault;
  }
}

const hex = (text: string) => Buffer.from(text, 'hex');
const jwk = (text: string) => Buffer.from(text, 'base64url');
const zeros = (last: number) => hex(last.toString(16).padStart(64, '0'));

/** github.com/w3c-ccg/did-method-key, test-vectors: DID, type and private key. */
const vectors = [
  ['did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp', 'Ed25519', zeros(0)],
  ['did:key:z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG', 'Ed25519', zeros(1)],
  ['did:key:z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf', 'Ed25519', zeros(2)],
  ['did:key:z6MkvqoYXQfDDJRv8L4wKzxYeuKyVZBfi9Qo6Ro8MiLH3kDQ', 'Ed25519', zeros(3)],
  ['did:key:z6MkwW6aqMnjgrhJXFUko3NnZPGzVpkNzhYK7yEhnsibmLwL', 'Ed25519', zeros(4)],
  [
    'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme',
    'secp256k1',
    hex('9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c'),
  ],
  [
    'did:key:zQ3shtxV1FrJfhqE1dvxYRcCknWNjHc3c5X1y3ZSoPDi2aur2',
    'secp256k1',
    hex('f0f4df55a2b3ff13051ea814a8f24ad00f2e469af73c363ac7e9fb999a9072ed'),
  ],
  [
    'did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N',
    'secp256k1',
    hex('6b0b91287ae3348f8c2f2552d766f30e3604867e34adc37ccbb74a8e6b893e02'),
  ],
  [
    'did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv',
    'P-256',
    jwk('gPh-VvVS8MbvKQ9LSVVmfnxnKjHn4Tqj0bmbpehRlpc'),
  ],
  [
    'did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169',
    'P-256',
    jwk('YjRs6vNvw4sYrzVVY8ipkEpDAD9PFqw1sUnvPRMA-WI'),
  ],
] as const;

test.each(vectors)('the W3C vector %s is read as %s', (did, keyType, secret) => {
  expect(parseDid(did)).toMatchObject({ method: 'key', did, keyType });
  expect(keyHolder(keyType, secret).did).toBe(did);
});

test('a secp256k1 key has the address that its wallet has, other keys have none', () => {
  const secret = hex('9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c');
  const { address } = privateKeyToAccount(`0x${secret.toString('hex')}`);
  expect(parseDid(keyHolder('secp256k1', secret).did).wallet).toBe(address.toLowerCase());
  for (const type of ['Ed25519', 'P-256'] as const) expect(parseDid(keyHolder(type).did).wallet).toBeNull();
});

describe('key types that cannot prove themselves here', () => {
  test.each([
    ['P-384', 'did:key:z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54'],
    [
      'P-521',
      'did:key:z2J9gaYxrKVpdoG9A4gRnmpnRCcxU6agDtFVVBVdn1JedouoZN7SzcyREXXzWgt3gGiwpoHq7K68X4m32D8HgzG8wv3sY5j7',
    ],
    ['X25519', 'did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F'],
    ['RSA', didOf([0x85, 0x24], new Uint8Array(270).fill(7))],
    ['BLS12-381', didOf([0xeb, 0x01], new Uint8Array(96).fill(7))],
  ])('%s', (_name, did) => expect(refusal(did)).toBe('did_key_type_unsupported'));
});

function didOf(codec: number[], key: Uint8Array): string {
  return `did:key:z${bytesToBase58(Uint8Array.from([...codec, ...key]))}`;
}

describe('another spelling of a good key', () => {
  const secret = hex('6b0b91287ae3348f8c2f2552d766f30e3604867e34adc37ccbb74a8e6b893e02');
  const ed = 'did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp';
  const raw = multibaseToBytes(ed.slice('did:key:'.length)).keyBytes;
  test.each([
    ['uncompressed P-256', didOf([0x80, 0x24], p256.getPublicKey(secret, false))],
    ['raw P-256', didOf([0x80, 0x24], p256.getPublicKey(secret, false).subarray(1))],
    ['uncompressed secp256k1', didOf([0xe7, 0x01], secp256k1.getPublicKey(secret, false))],
    ['a padded varint', didOf([0xed, 0x81, 0x00], raw)],
    ['its DID URL', `${ed}#${ed.slice('did:key:'.length)}`],
    ['with a query', `${ed}?x=1`],
    ['with a path', `${ed}/x`],
    ['in capitals', ed.replace('did:key:', 'DID:KEY:')],
  ])('%s', (_name, did) => expect(refusal(did)).toBe('did_noncanonical'));
});

describe('keys that anybody could sign for, and no keys at all', () => {
  const mixed = ed25519.Point.BASE.add(ed25519.Point.fromHex(ED25519_TORSION_SUBGROUP[1] ?? '')).toBytes();
  test.each([
    ...ED25519_TORSION_SUBGROUP.map((point, i) => [`small order, ${i}`, didOf([0xed, 0x01], hex(point))]),
    ['mixed order', didOf([0xed, 0x01], mixed)],
    ['y beyond the field', didOf([0xed, 0x01], hex(`${'ff'.repeat(31)}7f`))],
    ['no point of Ed25519', didOf([0xed, 0x01], hex(`02${'00'.repeat(31)}`))],
    ['no point of P-256', didOf([0x80, 0x24], hex(`02${'ff'.repeat(32)}`))],
    ['no point of secp256k1', didOf([0xe7, 0x01], hex(`02${'ff'.repeat(32)}`))],
    ['an unknown parity', didOf([0xe7, 0x01], hex(`05${'11'.repeat(32)}`))],
    ['a byte short', didOf([0xed, 0x01], new Uint8Array(31).fill(1))],
    ['a byte long', didOf([0xed, 0x01], new Uint8Array(33).fill(1))],
    ['nothing after the codec', didOf([0xed, 0x01], new Uint8Array())],
    ['a P-384 key said to be P-256', didOf([0x80, 0x24], p384.getPublicKey(new Uint8Array(48).fill(7)))],
    ['an endless varint', didOf([0xff, 0xff, 0xff, 0xff], new Uint8Array(32))],
    ['a letter that base58 has not', 'did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooW0'],
    ['another base', `did:key:f${Buffer.from([0xed, 0x01, ...new Uint8Array(32)]).toString('hex')}`],
    ['a version', 'did:key:1.1:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp'],
    ['a space', ' did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp'],
    ['a line', 'did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp\n'],
    ...['', 'did:', 'did:key', 'did:key:', 'did:key:z', 'z6Mk', 'https://example.com', 'x'.repeat(5000)].map((text) => [
      `“${text.slice(0, 20)}”`,
      text,
    ]),
  ])('%s', (_name, did = '') => expect(refusal(did)).toBe('did_invalid'));
});

test.each(['did:web:example.com', 'did:ethr:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', 'did:pkh:solana:x:y'])(
  'no host is asked and no other chain is believed: %s',
  (did) => expect(refusal(did)).toBe('did_method_unsupported'),
);

// Addresses of ERC-55.
describe('did:pkh', () => {
  const address = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed';
  test('has one spelling, whatever its chain and case', () => {
    for (const [chain, spelled] of [
      [1, address],
      [10, address.toLowerCase()],
      [8453, address],
    ] as const) {
      expect(parseDid(`did:pkh:eip155:${chain}:${spelled}`)).toEqual({
        ...{ method: 'pkh', did: `did:pkh:eip155:1:${address.toLowerCase()}` },
        ...{ wallet: address.toLowerCase(), chainId: chain },
      });
    }
  });
  test.each([
    `did:pkh:eip155:1:${address.replace('5a', '5A')}`,
    `did:pkh:eip155:1:${address.toUpperCase().replace('0X', '0x')}`,
    `did:pkh:eip155:1:${address.slice(2)}`,
    `did:pkh:eip155:1:${address}00`,
    `did:pkh:eip155:01:${address}`,
    `did:pkh:eip155:0:${address}`,
    `did:pkh:eip155:9999999999999999:${address}`,
    `did:pkh:eip155:${address}`,
  ])('that was mistyped is refused: %s', (did) => expect(refusal(did)).toBe('did_invalid'));
});
