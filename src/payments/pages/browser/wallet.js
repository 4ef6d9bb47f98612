/**
 * @typedef {object} Purchase What this browser has taken, by order.
 * @property {string} orderId
 * @property {string} did
 * @property {CryptoKey} key Signs for this order only, and cannot be read out.
 * @property {string} nonce
 * @property {string | undefined} token
 * @property {string | undefined} hContract Known from the claim on.
 * @property {string} merchant
 * @property {string} opens Address that the order leads to; empty when it leads nowhere.
 *
 * @typedef {Pick<Purchase, 'orderId' | 'token' | 'merchant' | 'opens'> & { amount: string }} Offer As the page shows it.
 */

/** An answer that is a refusal; `code` and `detail` as in problem+json. */
class Refusal extends Error {
  /** @param {{ status: number, body: Record<string, any>, retryAfter: string | null }} reply */
  constructor({ status, body, retryAfter }) {
    super(body['detail'] ?? body['title'] ?? `HTTP ${status}`);
    this.status = status;
    this.code = String(body['code'] ?? '');
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

/**
 * The wallet of people who have none: a key for each order, so that no shop can tell that two orders are of one person. It
 * lies in this origin's IndexedDB and outlives the shop's cookies; that it was there is what shows later who has paid.
 */
const wallet = (() => {
  const DEADLINE_MS = 30_000;

  /** @type {Promise<IDBDatabase> | undefined} */
  let opened;
  const open = () => {
    opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open('farebox-wallet', 1);
      request.onupgradeneeded = () => request.result.createObjectStore('purchases', { keyPath: 'orderId' });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return opened;
  };

  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest<T>} work
   * @returns {Promise<T>} when it is on the disk
   */
  const inStore = async (mode, work) => {
    const tx = (await open()).transaction('purchases', mode, { durability: 'strict' });
    const request = work(tx.objectStore('purchases'));
    return new Promise((resolve, reject) => {
      tx.oncomplete = () => resolve(request.result);
      tx.onabort = () => reject(tx.error);
    });
  };

  /** @param {string} orderId @returns {Promise<Purchase | undefined>} */
  const find = (orderId) => inStore('readonly', (store) => store.get(orderId));
  /** @param {Purchase} purchase */
  const keep = (purchase) => inStore('readwrite', (store) => store.put(purchase));
  /** @param {string} orderId */
  const drop = (orderId) => inStore('readwrite', (store) => store.delete(orderId));

  /** @param {Uint8Array} bytes */
  const base64url = (bytes) =>
    btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (one) => ({ '+': '-', '/': '_' })[one] ?? '');

  /** @param {Uint8Array} bytes */
  const base58 = (bytes) => {
    const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
    let text = '';
    let value = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
    for (; value > 0n; value /= 58n) text = alphabet[Number(value % 58n)] + text;
    return text;
  };

  /** An Ed25519 did:key: multicodec 0xed 0x01 before the public key, multibase z. */
  const newKey = async () => {
    const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']));
    const spoken = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
    return { key: pair.privateKey, did: `did:key:z${base58(new Uint8Array([0xed, 0x01, ...spoken]))}` };
  };

  /** @param {CryptoKey} key @param {object} header @param {object} claims @returns {Promise<string>} a JWS */
  const sign = async (key, header, claims) => {
    /** @param {object} part */
    const spell = (part) => base64url(new TextEncoder().encode(JSON.stringify(part)));
    const told = `${spell(header)}.${spell(claims)}`;
    const signature = await crypto.subtle.sign('Ed25519', key, new TextEncoder().encode(told));
    return `${told}.${base64url(new Uint8Array(signature))}`;
  };

  /** @param {string} path @param {object | undefined} body @param {string} [token] */
  const post = async (path, body, token) => {
    const reply = await fetch(path, {
      ...{ method: 'POST', signal: AbortSignal.timeout(DEADLINE_MS) },
      headers: {
        accept: 'application/json',
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const told = /** @type {Record<string, any>} */ (reply.status === 204 ? {} : await reply.json().catch(() => ({})));
    if (!reply.ok)
      throw new Refusal({ status: reply.status, body: told, retryAfter: reply.headers.get('retry-after') });
    return told;
  };

  /**
   * Asks what is to be signed for a deed, signs it and does it.
   * @param {Purchase} purchase @param {string} action @param {string} to last part of the address
   * @param {object} wish @param {string} [token]
   */
  const deed = async ({ orderId, key }, action, to, wish, token) => {
    const asked = await post(`/orders/${orderId}/challenges`, { action, ...wish });
    const proof = { type: 'did-jwt', jwt: await sign(key, asked['jwt_header'], asked['jwt_claims']) };
    return post(`/orders/${orderId}/${to}`, { ...wish, challenge_id: asked['challenge_id'], proof }, token);
  };

  /** A key for an order, written down before anybody hears of it; two tabs at once get the same. @param {Offer} offer */
  const begin = async ({ amount: _shown, ...offer }) => {
    const made = { ...offer, ...(await newKey()), nonce: crypto.randomUUID(), hContract: undefined };
    await inStore('readwrite', (store) => store.add(made)).catch(() => {});
    return /** @type {Purchase} */ (await find(offer.orderId));
  };

  /** The same key and nonce get the same contract, however often. @param {Offer} offer @returns {Promise<Purchase>} */
  const claim = async (offer) => {
    const known = await find(offer.orderId);
    if (known?.hContract) return known;
    const purchase = known ?? (await begin(offer));
    // The page may have an address by now that has no token in it.
    const { did, nonce, token = offer.token } = purchase;
    const wish = { did, nonce, ...(token ? { token } : {}) };
    const told = await deed(purchase, 'claim', 'claim', wish).catch(async (fault) => {
      // A new key that gets a no is worth nothing. Of an older one an answer may have been lost: that one stays.
      if (!known && fault instanceof Refusal && fault.status < 429) await drop(offer.orderId);
      throw fault;
    });
    const terms = told['contract_terms'];
    if (
      terms.order_id !== offer.orderId ||
      terms.wallet !== did ||
      terms.nonce !== nonce ||
      terms.amount !== offer.amount
    )
      throw new Error('the contract is not what the page has shown');
    const claimed = { ...purchase, hContract: told['h_contract'] };
    await keep(claimed);
    return claimed;
  };

  /**
   * With the credits of the account of this e-mail address. The log-in ends with the payment.
   * @param {Offer} offer @param {string | null} session @param {{ email: string, password: string }} person
   * @returns {Promise<Purchase>}
   */
  const payWithCredits = async (offer, session, person) => {
    const { access_token: token } = await post('/v1/auth/login', person);
    try {
      const purchase = await claim(offer);
      const wish = { h_contract: purchase.hContract, session_id: session, rail: 'credits' };
      await deed(purchase, 'pay', 'pay', wish, token);
      return purchase;
    } finally {
      await post('/v1/auth/logout', undefined, token).catch(() => {});
    }
  };

  /** Opens a purchase of exactly the order's credits. @param {Offer} offer @param {string | null} session @returns {Promise<string>} where it is paid */
  const payWithMoney = async (offer, session) => {
    const purchase = await claim(offer);
    const wish = { h_contract: purchase.hContract, session_id: session, rail: 'omise' };
    return (await deed(purchase, 'pay', 'pay', wish))['status_url'];
  };

  /** Nothing is charged. @param {Purchase} purchase @param {string} session */
  const prove = (purchase, session) =>
    deed(purchase, 'prove', 'paid', { h_contract: purchase.hContract, session_id: session });

  /** So that another wallet can take the order. @param {Purchase} purchase */
  const giveUp = async (purchase) => {
    await deed(purchase, 'unclaim', 'unclaim', { h_contract: purchase.hContract });
    await drop(purchase.orderId);
  };

  /** As the service says, for the page that paid may not have lived to hear of it. @param {Purchase} purchase */
  const isOpen = async ({ orderId, hContract }) => {
    if (!hContract) return false;
    const query = new URLSearchParams({ h_contract: hContract });
    const reply = await fetch(`/orders/${orderId}?${query}`, {
      headers: { accept: 'application/json' },
      credentials: 'omit',
    });
    return reply.status === 200 && (await reply.json())['refunded'] === false;
  };

  /** An order that this browser has paid, and that opens the same. @param {Offer} offer @returns {Promise<Purchase | undefined>} */
  const findPaid = async ({ orderId, merchant, opens }) => {
    /** @type {Purchase[]} */
    const all = opens ? await inStore('readonly', (store) => store.getAll()) : [];
    for (const one of all)
      if (one.orderId !== orderId && one.merchant === merchant && one.opens === opens && (await isOpen(one)))
        return one;
    return undefined;
  };

  /** Not on plain HTTP, not in old browsers, and not where nothing can be kept. */
  const isAble = async () => {
    try {
      await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
      await open();
      return true;
    } catch {
      return false;
    }
  };

  return { isAble, find, findPaid, payWithCredits, payWithMoney, prove, giveUp };
})();
