/**
 * The ledger as a page of plain code: no hash, no lines, no parallelism, only what each verb must answer. Amounts are
 * numbers here, on purpose unlike the real one.
 */

export type Verb = 'purchase' | 'grant' | 'return' | 'adjust' | 'clawback' | 'spend' | 'hold' | 'capture' | 'release';

export interface Order {
  verb: Verb;
  account: string;
  amount: number;
  /** The cause's id. */
  ref: string;
  /** Of hold, capture and release. */
  hold: string;
}

export interface Answer {
  result: string;
  seq: number;
  available: number;
  held: number;
  debt: number;
}

interface Account {
  available: number;
  held: number;
  debt: number;
  seq: number;
}

export class LedgerModel {
  private accounts = new Map<string, Account>();
  private booked = new Map<string, { same: string; seq: number }>();
  private left = new Map<string, number>();

  apply({ verb, account, amount, ref, hold }: Order): Answer {
    const a = this.accounts.get(account) ?? { available: 0, held: 0, debt: 0, seq: 0 };
    const aboutHold = verb === 'hold' || verb === 'capture' || verb === 'release';
    const cause = [account, verb, ref].join();
    const same = [amount, aboutHold ? hold : ''].join();
    const earlier = this.booked.get(cause);
    if (earlier) return { ...a, seq: earlier.seq, result: earlier.same === same ? 'replay' : 'conflict' };

    const own = `${account} ${hold}`;
    const open = this.left.get(own);
    if ((verb === 'capture' || verb === 'release') && (open ?? 0) < amount) return { ...a, result: 'exceeded' };
    const takes = verb === 'spend' || verb === 'hold' || amount < 0;
    if (takes && a.available < Math.abs(amount)) return { ...a, result: 'insufficient' };
    if (verb === 'hold' && open !== undefined) return { ...a, result: 'error' };

    const seq = a.seq + 1;
    const b = { ...a, seq };
    if (verb === 'spend') b.available -= amount;
    else if (verb === 'clawback') b.debt += amount;
    else if (verb !== 'hold' && verb !== 'capture') b.available += amount;
    if (verb === 'hold') b.available -= amount;
    if (aboutHold) {
      b.held += verb === 'hold' ? amount : -amount;
      this.left.set(own, verb === 'hold' ? amount : (open ?? 0) - amount);
    }
    const repaid = Math.min(b.debt, b.available);
    if (repaid > 0) {
      b.available -= repaid;
      b.debt -= repaid;
      b.seq += 1;
    }
    this.accounts.set(account, b);
    this.booked.set(cause, { same, seq });
    return { ...b, seq, result: 'posted' };
  }
}
