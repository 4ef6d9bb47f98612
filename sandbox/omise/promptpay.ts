import QRCode from 'qrcode';
import type { Charge } from './charges/charge.ts';

// EMV QR Code Specification for Payment Systems, Merchant-Presented Mode v1.1, with the Thai QR Payment Standard on
// top: a bill payment (tag 30) with a biller, an amount and a reference that leads back to the charge.

const BILL_PAYMENT_AID = 'A000000677010112';
/** Nobody's biller number: a real banking app that reads this code must not find anybody to pay. */
const BILLER_ID = '099999999999999';
const CURRENCY_THB = '764'; // ISO 4217 numeric
const MERCHANT_NAME_LIMIT = 25;

export function promptpayPayload(merchant: string, charge: Pick<Charge, 'id' | 'amount'>): string {
  const billPayment = field('00', BILL_PAYMENT_AID) + field('01', BILLER_ID) + field('02', referenceOf(charge.id));
  const body = [
    field('00', '01'), // payload format indicator
    field('01', '12'), // dynamic: good for one payment
    field('30', billPayment + field('03', 'SANDBOX')),
    field('53', CURRENCY_THB),
    field('54', (charge.amount / 100).toFixed(2)),
    field('58', 'TH'),
    field('59', merchantName(merchant)),
    field('60', 'Bangkok'),
    '6304', // the checksum covers its own tag and length (§4.7.3)
  ].join('');
  return body + crc16(body);
}

/** References of Thai bill payments are at most 20 capitals and digits: the tail of a charge id fits. */
export function referenceOf(chargeId: string): string {
  return (chargeId.split('_').at(-1) ?? '').toUpperCase();
}

function field(tag: string, value: string): string {
  return tag + String(value.length).padStart(2, '0') + value;
}

/** The field is counted in characters that every reader has. */
function merchantName(merchant: string): string {
  const plain = merchant.replaceAll(/[^\x20-\x7e]/g, '').trim();
  return (plain === '' ? 'Sandbox' : plain).slice(0, MERCHANT_NAME_LIMIT);
}

/** The reference in a scanned payload, or null when it is not one of ours or does not add up. */
export function scannedReference(payload: string): string | null {
  const code = payload.trim();
  if (crc16(code.slice(0, -4)) !== code.slice(-4).toUpperCase()) return null;
  const billPayment = fieldsOf(code).get('30');
  return billPayment === undefined ? null : (fieldsOf(billPayment).get('02') ?? null);
}

function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let at = 0;
  while (at + 4 <= text.length) {
    const length = Number(text.slice(at + 2, at + 4));
    if (!Number.isInteger(length)) break;
    fields.set(text.slice(at, at + 2), text.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return fields;
}

/** CRC-16/CCITT-FALSE: polynomial 1021, start FFFF, nothing reflected (ISO/IEC 13239 as §4.7.3 uses it). */
function crc16(text: string): string {
  let crc = 0xffff;
  for (const byte of Buffer.from(text, 'utf8')) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc.toString(16).toUpperCase().padStart(4, '0');
}

const QUIET_ZONE_MODULES = 4; // what the QR standard asks for around the code

export function qrImage(payload: string): Promise<Buffer> {
  return QRCode.toBuffer(payload, { type: 'png', margin: QUIET_ZONE_MODULES, width: 480, errorCorrectionLevel: 'M' });
}

/** The same code for an HTML page; always black on white, or phones do not read it. */
export function qrSvg(payload: string): Promise<string> {
  return QRCode.toString(payload, { type: 'svg', margin: QUIET_ZONE_MODULES, errorCorrectionLevel: 'M' });
}
