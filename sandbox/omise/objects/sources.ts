import type { Charge } from '../charges/charge.ts';
import { stamp } from '../clock.ts';
import { requiredInteger, requiredText, textField } from '../http/fields.ts';
import { badRequest, notFound, refused } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';

/** `offline`: the person pays by a code; `redirect` and `app_redirect`: on a page or in an app of the provider. */
type Flow = 'offline' | 'redirect' | 'app_redirect';

export interface Source {
  id: string;
  type: string;
  flow: Flow;
  amount: number;
  currency: string;
  phoneNumber: string | null;
  email: string | null;
  name: string | null;
  platformType: string | null;
  createdAt: number;
  /** The one charge made of it. */
  charge: string | null;
}

/** PromptPay moves THB 20 to 150 000, whatever the account may charge by card. */
const PROMPTPAY_AMOUNT = { min: 2_000, max: 15_000_000 };

export function createSource(call: Call): JsonObject {
  return sourceJson(call.world, sourceFrom(call.world, call.input));
}

export function readSource(call: Call): JsonObject {
  return sourceJson(call.world, sourceOf(call.world, idOf(call)));
}

/** Makes a source of the fields of a request; also used for a source given inside a charge. */
export function sourceFrom(world: World, input: JsonObject): Source {
  const type = requiredText(input, 'type');
  const source: Source = {
    id: newId(world, 'src'),
    type,
    flow: flowOf(world, type),
    amount: requiredInteger(input, 'amount'),
    currency: requiredText(input, 'currency').toUpperCase(),
    phoneNumber: textField(input, 'phone_number'),
    email: textField(input, 'email'),
    name: textField(input, 'name'),
    platformType: textField(input, 'platform_type'),
    createdAt: world.clock.now(),
    charge: null,
  };
  checkSource(world, source);
  world.sources.set(source.id, source);
  return source;
}

export function sourceOf(world: World, id: string): Source {
  const source = world.sources.get(id);
  if (source === undefined) throw notFound('source', id);
  return source;
}

function flowOf(world: World, type: string): Flow {
  if (type === 'card' || !world.account.payment_methods.includes(type)) {
    throw badRequest(`type ${type} is not supported`);
  }
  if (type === 'promptpay') return 'offline';
  return type.startsWith('mobile_banking_') ? 'app_redirect' : 'redirect';
}

function checkSource(world: World, source: Source): void {
  if (source.currency !== world.account.currency) {
    throw refused('invalid_charge', 'currency is currently not supported');
  }
  if (source.type === 'truemoney' && source.phoneNumber === null) throw badRequest("phone_number can't be blank");
  checkAmount(source.amount, source.type === 'promptpay' ? PROMPTPAY_AMOUNT : world.account.charge_amount);
}

export function checkAmount(amount: number, limits: { min: number; max: number }): void {
  if (amount < limits.min) throw refused('invalid_amount', `amount must be greater than or equal to ${limits.min}`);
  if (amount > limits.max) throw refused('invalid_amount', `amount must be less than or equal to ${limits.max}`);
}

export function sourceJson(world: World, source: Source): JsonObject {
  const charge = source.charge === null ? undefined : world.charges.get(source.charge);
  return {
    object: 'source',
    id: source.id,
    livemode: world.account.livemode,
    location: `/sources/${source.id}`,
    amount: source.amount,
    barcode: null,
    bank: null,
    created_at: stamp(source.createdAt),
    currency: source.currency,
    email: source.email,
    flow: source.flow,
    installment_term: null,
    ip: null,
    absorption_type: null,
    name: source.name,
    mobile_number: null,
    phone_number: source.phoneNumber,
    platform_type: source.platformType,
    scannable_code: charge === undefined ? null : scannableCode(world, charge),
    qr_settings: null,
    billing: null,
    shipping: null,
    items: [],
    references: null,
    provider_references: null,
    store_id: null,
    store_name: null,
    terminal_id: null,
    type: source.type,
    zero_interest_installments: null,
    charge_status: charge?.status ?? 'unknown',
    receipt_amount: null,
    discounts: [],
    promotion_code: null,
  };
}

function scannableCode(world: World, charge: Charge): JsonObject | null {
  if (charge.qr === null) return null;
  const location = `/charges/${charge.id}/documents/${charge.qr.document}`;
  const image = {
    object: 'document',
    livemode: world.account.livemode,
    id: charge.qr.document,
    deleted: false,
    filename: 'qrcode.png',
    location,
    download_uri: `${world.url}${location}/downloads/${charge.qr.downloadKey}`,
    created_at: stamp(charge.createdAt),
  };
  return { object: 'barcode', type: 'qr', image };
}
