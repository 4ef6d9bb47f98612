import type { Charge } from '../charges/charge.ts';
import { stamp, stampOrNull } from '../clock.ts';
import { badRequest, notFound } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { record } from './events.ts';
import { embeddedList, listPage } from './lists.ts';
import { book, type Transaction, transactionJson } from './transactions.ts';

export interface Dispute {
  id: string;
  charge: string;
  amount: number;
  currency: string;
  status: 'open' | 'pending' | 'won' | 'lost';
  reasonCode: string;
  transactions: Transaction[];
  createdAt: number;
  closedAt: number | null;
}

const REASONS: Record<string, string> = {
  goods_or_services_not_provided: 'Merchandise/Services Not Received',
  unauthorized_charge: 'Unauthorized Charge',
};

/** A card holder's bank takes the money back until the dispute is decided. */
export function openDispute(world: World, charge: Charge, wanted: { amount?: number; reason?: string }): Dispute {
  if (charge.status !== 'successful') throw badRequest('only a successful charge can be disputed');
  if (charge.dispute?.closedAt === null) throw badRequest('charge is already disputed');
  const id = newId(world, 'dspt');
  const amount = wanted.amount ?? charge.capturedAmount;
  const { currency } = charge;
  const debit = book(world, { currency, amount, direction: 'debit', key: 'dispute.started.debit', origin: id });
  const dispute: Dispute = {
    id,
    charge: charge.id,
    amount,
    currency,
    status: 'open',
    reasonCode: wanted.reason ?? 'goods_or_services_not_provided',
    transactions: [debit],
    createdAt: world.clock.now(),
    closedAt: null,
  };
  charge.dispute = dispute;
  world.disputes.set(id, dispute);
  announceDispute(world, 'dispute.create', charge, dispute);
  return dispute;
}

export function closeDispute(world: World, charge: Charge, status: 'won' | 'lost'): Dispute {
  const { dispute } = charge;
  if (dispute === null || dispute.closedAt !== null) throw badRequest('charge has no open dispute');
  dispute.status = status;
  dispute.closedAt = world.clock.now();
  if (status === 'won') {
    const { amount, currency, id: origin } = dispute;
    dispute.transactions.push(
      book(world, { currency, amount, direction: 'credit', key: 'dispute.won.credit', origin }),
    );
  }
  announceDispute(world, 'dispute.close', charge, dispute);
  return dispute;
}

function announceDispute(world: World, key: string, charge: Charge, dispute: Dispute): void {
  record(world, key, disputeJson(world, dispute), { charge: charge.id, endpoints: charge.webhookEndpoints });
}

export function listDisputes(call: Call): JsonObject {
  return pageOf(call, '/disputes', () => true);
}

export function listOpenDisputes(call: Call): JsonObject {
  return pageOf(call, '/disputes/open', ({ status }) => status === 'open');
}

export function listPendingDisputes(call: Call): JsonObject {
  return pageOf(call, '/disputes/pending', ({ status }) => status === 'pending');
}

export function listClosedDisputes(call: Call): JsonObject {
  return pageOf(call, '/disputes/closed', ({ closedAt }) => closedAt !== null);
}

function pageOf(call: Call, location: string, wanted: (dispute: Dispute) => boolean): JsonObject {
  return listPage(call, {
    items: [...call.world.disputes.values()].filter(wanted),
    createdAt: (dispute) => dispute.createdAt,
    json: (dispute) => disputeJson(call.world, dispute),
    location,
  });
}

export function readDispute(call: Call): JsonObject {
  const dispute = call.world.disputes.get(idOf(call));
  if (dispute === undefined) throw notFound('dispute', idOf(call));
  return disputeJson(call.world, dispute);
}

export function disputeJson(world: World, dispute: Dispute): JsonObject {
  const location = `/disputes/${dispute.id}`;
  return {
    object: 'dispute',
    id: dispute.id,
    livemode: world.account.livemode,
    location,
    currency: dispute.currency,
    amount: dispute.amount,
    funding_amount: dispute.amount,
    funding_currency: dispute.currency,
    metadata: {},
    charge: dispute.charge,
    documents: embeddedList([], `${location}/documents`, world.clock.now()),
    transactions: dispute.transactions.map((transaction) => transactionJson(world, transaction)),
    admin_message: null,
    message: null,
    reason_code: dispute.reasonCode,
    reason_message: REASONS[dispute.reasonCode] ?? dispute.reasonCode,
    status: dispute.status,
    closed_at: stampOrNull(dispute.closedAt),
    created_at: stamp(dispute.createdAt),
  };
}
