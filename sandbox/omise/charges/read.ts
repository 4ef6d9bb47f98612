import { objectField, textField } from '../http/fields.ts';
import { notFound } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import type { JsonObject } from '../json.ts';
import { customerJson } from '../objects/customers.ts';
import { linkJson } from '../objects/links.ts';
import { listPage } from '../objects/lists.ts';
import { transactionJson } from '../objects/transactions.ts';
import { qrImage } from '../promptpay.ts';
import type { World } from '../state.ts';
import { announce } from './announce.ts';
import { type Charge, chargeOf } from './charge.ts';
import { chargeJson } from './charge-json.ts';

export function readCharge(call: Call): JsonObject {
  const charge = chargeOf(call.world, idOf(call));
  const body = chargeJson(call.world, charge);
  return textField(call.query, 'expand') === 'true' ? { ...body, ...expansions(call.world, charge) } : body;
}

export function listCharges(call: Call): JsonObject {
  return listPage(call, {
    items: call.world.charges.values(),
    createdAt: (charge) => charge.createdAt,
    json: (charge) => chargeJson(call.world, charge),
    location: '/charges',
  });
}

export function updateCharge(call: Call): JsonObject {
  const { world, input } = call;
  const charge = chargeOf(world, idOf(call));
  if ('description' in input) charge.description = textField(input, 'description');
  if ('metadata' in input) charge.metadata = objectField(input, 'metadata') ?? {};
  announce(world, 'charge.update', charge);
  return chargeJson(world, charge);
}

/** The QR image; like a careful account, it wants the secret key, so that merchants do not hand its address out. */
export function readQrImage(call: Call): Promise<Buffer> {
  const charge = chargeOf(call.world, idOf(call));
  const { qr } = charge;
  if (qr === null || qr.document !== call.path['document'] || qr.downloadKey !== call.path['download']) {
    throw notFound('document', idOf(call, 'document'));
  }
  return qrImage(qr.payload);
}

/** `expand=true` puts objects where ids stand. */
function expansions(world: World, charge: Charge): JsonObject {
  const customer = charge.customer === null ? undefined : world.customers.get(charge.customer);
  const transaction = charge.transaction === null ? undefined : world.transactions.get(charge.transaction);
  const link = charge.link === null ? undefined : world.links.get(charge.link);
  return {
    ...(customer === undefined ? {} : { customer: customerJson(world, customer) }),
    ...(transaction === undefined ? {} : { transaction: transactionJson(world, transaction) }),
    ...(link === undefined ? {} : { link: linkJson(world, link) }),
  };
}
