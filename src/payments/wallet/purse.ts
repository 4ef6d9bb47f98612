import { createHash, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Json } from '../orders/contract.ts';
import { notDone } from './fault.ts';
import type { Place } from './place.ts';

/** What a wallet has bought, with the keys to it: one file for each order, readable by its owner alone. */

export type Terms = { [name: string]: Json };

export interface Purchase {
  base: string;
  orderId: string;
  did: string;
  /** Of a key that is for this order alone; base64url. */
  secret?: string;
  /** Of a key that was given. */
  keyFile?: string;
  /** Makes a repeated claim the same claim. */
  nonce: string;
  state: 'begun' | 'claimed' | 'paid' | 'given_back';
  hContract?: string;
  terms?: Terms;
  /** The service's signature over the contract, and over its being paid. */
  signature?: string;
  receipt?: string;
  /** What was opened to pay it by other rails: money that comes too late can be asked back. */
  openings?: Opening[];
}

export interface Opening {
  purchaseId: string;
  /** On chain: what was agreed to, and the hash of its terms. */
  request?: { id: string; termsHash: string };
}

type OrderName = Pick<Place, 'base' | 'orderId'>;

export interface Purse {
  find(order: OrderName): Purchase | undefined;
  /** Keeps a new purchase, or finds the one that another run has begun meanwhile. */
  begin(purchase: Purchase): Purchase;
  keep(purchase: Purchase): void;
  drop(order: OrderName): void;
  /** One that is paid, and opens the same address. */
  findOpening(base: string, opens: { fulfillmentUrl: unknown; merchant?: Json | undefined }): Purchase | undefined;
}

const defaultHome = (): string =>
  join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'farebox', 'wallet');

/** The directory is made when it is not there. */
export function openPurse(home: string = defaultHome()): Purse {
  const folder = join(home, 'purchases');
  const fileOf = ({ base, orderId }: OrderName) =>
    join(folder, `${createHash('sha256').update(`${base} ${orderId}`).digest('hex').slice(0, 32)}.json`);
  // On the disk before it has its name: a purchase is there whole, or not at all.
  const write = (purchase: Purchase): string => {
    const file = join(folder, `${randomUUID()}.new`);
    writeFileSync(file, `${JSON.stringify(purchase, null, 2)}\n`, { mode: 0o600, flush: true });
    return file;
  };
  const orFault = <T>(work: () => T): T => {
    try {
      return work();
    } catch (fault) {
      const { code, message } = fault as NodeJS.ErrnoException;
      throw notDone(
        `The wallet in ${home} cannot be used.`,
        code === undefined ? `A file is damaged (${message}).` : `A file cannot be read or written (${code}).`,
        'Nothing was paid by this run. Mend the directory, or name another one with --home.',
      );
    }
  };
  const read = (file: string): Purchase | undefined => {
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Purchase;
    } catch (fault) {
      if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fault instanceof SyntaxError ? new Error(file) : fault;
    }
  };
  orFault(() => mkdirSync(folder, { recursive: true, mode: 0o700 }));
  return {
    find: (order) => orFault(() => read(fileOf(order))),
    begin: (purchase) =>
      orFault(() => {
        const file = write(purchase);
        try {
          linkSync(file, fileOf(purchase));
          return purchase;
        } catch (fault) {
          if ((fault as NodeJS.ErrnoException).code !== 'EEXIST') throw fault;
          return read(fileOf(purchase)) ?? purchase;
        } finally {
          rmSync(file);
        }
      }),
    keep: (purchase) => orFault(() => renameSync(write(purchase), fileOf(purchase))),
    drop: (order) => orFault(() => rmSync(fileOf(order), { force: true })),
    findOpening: (base, { fulfillmentUrl, merchant }) =>
      orFault(() =>
        readdirSync(folder)
          .filter((name) => name.endsWith('.json'))
          .map((name) => read(join(folder, name)))
          .find(
            (one) =>
              one?.base === base &&
              one.state === 'paid' &&
              typeof fulfillmentUrl === 'string' &&
              one.terms?.['fulfillment_url'] === fulfillmentUrl &&
              (merchant === undefined || isDeepStrictEqual(one.terms['merchant'], merchant)),
          ),
      ),
  };
}
