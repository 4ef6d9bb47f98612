import type { WalletKey } from './keys.ts';
import type { Purse } from './purse.ts';
import type { Terminal } from './terminal.ts';

/** What the commands of a wallet work with. */
export interface Wallet {
  purse: Purse;
  terminal: Terminal;
  /** The key that was given for new orders; else each has its own. */
  key: WalletKey | undefined;
  keyFile: string | undefined;
  /** Nobody is to be asked. */
  isSure: boolean;
}

/** What was done, for a person in words and for a machine as it is. */
export interface Told {
  result: string;
  order_id: string;
  [more: string]: unknown;
}
