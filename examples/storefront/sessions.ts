import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/**
 * Who a browser is: a secret in a signed cookie. Its public id is a hash of that secret, and the only thing that
 * leaves the shop: it stands in addresses and QR codes, and whoever reads it there cannot become the browser.
 */
export interface Session {
  publicId: string;
  /** To be sent along when the session is new. */
  setCookie?: string;
}

const SECRET_BYTES = 24;
const MAX_AGE_S = 30 * 86_400;

/** `key` signs: at least 32 characters, the same on all servers of a shop. */
export function createSessions(key: string, { isHttps }: { isHttps: boolean }) {
  if (key.length < 32) throw new Error('the key of the session cookies needs at least 32 characters');
  // With the prefix no other host of the domain can put a session of its own into a browser (RFC 6265bis §4.1.3.2).
  const name = isHttps ? '__Host-farebox_session' : 'farebox_session';
  const sign = (secret: string) => createHmac('sha256', key).update(secret).digest('base64url');
  const isOurs = (value: string): boolean => {
    const [secret = '', signature = '', ...more] = value.split('.');
    const [told, right] = [Buffer.from(signature), Buffer.from(sign(secret))];
    return more.length === 0 && secret !== '' && told.length === right.length && timingSafeEqual(told, right);
  };
  const publicIdOf = (value: string) =>
    createHash('sha256')
      .update(`farebox session ${value.split('.', 1)[0]}`)
      .digest('base64url');

  return {
    /** The session of a request, or a new one: a cookie that is not ours is no cookie. */
    of(cookies: string | undefined): Session {
      const known = cookieValues(cookies, name).find(isOurs);
      if (known !== undefined) return { publicId: publicIdOf(known) };
      const secret = randomBytes(SECRET_BYTES).toString('base64url');
      const fresh = `${secret}.${sign(secret)}`;
      const rest = `Path=/; Max-Age=${MAX_AGE_S}; HttpOnly; SameSite=Lax${isHttps ? '; Secure' : ''}`;
      return { publicId: publicIdOf(fresh), setCookie: `${name}=${fresh}; ${rest}` };
    },
  };
}

/** All values of that name, the one of the longest path first, as browsers send them (RFC 6265 §5.4). */
export const cookieValues = (header: string | undefined, name: string): string[] =>
  (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
