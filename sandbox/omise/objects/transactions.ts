import { stamp } from '../clock.ts';
import { notFound } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { listPage } from './lists.ts';

/** A movement on the merchant's balance at Omise. */
export interface Transaction {
  id: string;
  currency: string;
  amount: number;
  direction: 'credit' | 'debit';
  key: string;
  /** Id of the charge, refund or dispute behind it. */
  origin: string;
  createdAt: number;
}

export function book(world: World, movement: Omit<Transaction, 'id' | 'createdAt'>): Transaction {
  const transaction = { ...movement, id: newId(world, 'trxn'), createdAt: world.clock.now() };
  world.transactions.set(transaction.id, transaction);
  return transaction;
}

export function transactionJson(world: World, transaction: Transaction): JsonObject {
  const { id, currency, amount, direction, key, origin, createdAt } = transaction;
  return {
    object: 'transaction',
    id,
    livemode: world.account.livemode,
    currency,
    amount,
    location: `/transactions/${id}`,
    direction,
    key,
    origin,
    transferable_at: stamp(createdAt),
    created_at: stamp(createdAt),
  };
}

export function listTransactions(call: Call): JsonObject {
  return listPage(call, {
    items: call.world.transactions.values(),
    createdAt: (transaction) => transaction.createdAt,
    json: (transaction) => transactionJson(call.world, transaction),
    location: '/transactions',
  });
}

export function readTransaction(call: Call): JsonObject {
  const transaction = call.world.transactions.get(idOf(call));
  if (transaction === undefined) throw notFound('transaction', idOf(call));
  return transactionJson(call.world, transaction);
}
