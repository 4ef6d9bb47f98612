import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { pointerOf } from './failures.ts';
import { Problem } from './problem.ts';

/**
 * JSON bodies: UTF-8 only, bounded in depth, and free of what no field may carry: NUL (PostgreSQL has none), lone
 * surrogates (not Unicode), card numbers (E6.1).
 */

const MAX_DEPTH = 32; // real bodies have five levels; JSON.parse itself would recurse until the stack ends
const JSON_TYPE = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

export function acceptJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    if (!JSON_TYPE.test(request.headers['content-type'] ?? '')) return done(new Problem('unsupported_media_type'));
    // Many clients name the type of a body that they do not send, with DELETE for example.
    if (bytes.length === 0 && !takesBody(request)) return done(null, undefined);
    if (!Buffer.isBuffer(bytes) || !isUtf8(bytes))
      return done(new Problem('malformed_request', 'The body is not UTF-8.'));
    const text = bytes.toString('utf8');
    if (depthOf(text) > MAX_DEPTH) {
      return done(new Problem('malformed_request', `The body is nested deeper than ${MAX_DEPTH} levels.`));
    }
    parse(request, text, (fault, body) => {
      if (fault) return done(fault);
      const refused = inspect(body, []);
      return refused ? done(refused) : done(null, body);
    });
  });
  app.addHook('onRequest', async (request) => {
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') throw new Problem('unsupported_media_type');
    if (request.url.includes('%00')) throw new Problem('malformed_request', 'The address holds a NUL character.');
  });
}

const takesBody = (request: FastifyRequest) => request.routeOptions.schema?.body !== undefined;

/** Deepest nesting of brackets outside of strings; counts, without building anything. */
export function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i += 1;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (c === 0x7d || c === 0x5d) depth -= 1;
  }
  return deepest;
}

/** Whether a card number stands anywhere in what came in another way than as a body. */
export const holdsCardNumber = (value: unknown): boolean => inspect(value, [], cardNumberIn) !== undefined;

/** `path` leads to the value; it is one list for the whole body, which may be long. */
function inspect(value: unknown, path: (string | number)[], inspectLeaf = faultInLeaf): Problem | undefined {
  if (typeof value === 'string' || typeof value === 'number') return inspectLeaf(value, path);
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      path.push(index);
      const refused = inspect(item, path, inspectLeaf);
      if (refused) return refused;
      path.pop();
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      const inName = inspectLeaf(name, path);
      path.push(name);
      const refused = inName ?? inspect(item, path, inspectLeaf);
      if (refused) return refused;
      path.pop();
    }
  }
  return undefined;
}

function faultInLeaf(value: string | number, path: (string | number)[]): Problem | undefined {
  if (typeof value === 'string' && (value.includes('\0') || !value.isWellFormed())) {
    return refuse('validation_failed', path, 'holds a character that is not text (NUL or a lone surrogate)');
  }
  return cardNumberIn(value, path);
}

const cardNumberIn = (value: string | number, path: (string | number)[]): Problem | undefined =>
  isCardNumber(value) && !mayHoldLongNumbers(path)
    ? refuse('card_number_refused', path, 'looks like a card number')
    : undefined;

const refuse = (code: 'validation_failed' | 'card_number_refused', path: (string | number)[], detail: string) =>
  new Problem(code, undefined, { errors: [{ pointer: pointerOf(path), code, detail }] });

/** Fields whose values are long numbers by nature: one random number in ten passes the Luhn check. `t_ms`: a Taler time. */
const LONG_NUMBER_FIELDS = /(^|_)(amount|credits|price|id|ids|hash|address|signature|nonce|key)$|^[td]_(s|ms|us)$/;
const mayHoldLongNumbers = (path: (string | number)[]) => {
  const field = path.findLast((part) => typeof part === 'string');
  return typeof field === 'string' && LONG_NUMBER_FIELDS.test(field);
};

/** Ranges of the card brands: Visa, Mastercard, Amex, Discover, JCB, Diners, UnionPay. */
const BRANDS =
  /^(4\d{12}(\d{3}){0,2}|(5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}|3[47]\d{13}|6(011|4[4-9]\d|5\d{2})\d{12}|35(2[89]|[3-8]\d)\d{12}|3(0[0-5]|[689]\d)\d{11}|62\d{14,17})$/;

/** 13 to 19 digits, spaces and dashes between them allowed, of a known brand, with a right check digit. */
export function isCardNumber(value: string | number): boolean {
  const text = String(value);
  if (text.length < 13 || text.length > 40 || !/^\d[\d -]+\d$/.test(text)) return false;
  const digits = text.replace(/[ -]/g, '');
  return BRANDS.test(digits) && passesLuhn(digits);
}

/** ISO/IEC 7812-1, annex B. */
function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 48;
    const weighted = i % 2 === 1 ? digit * 2 : digit;
    sum += weighted > 9 ? weighted - 9 : weighted;
  }
  return sum % 10 === 0;
}
