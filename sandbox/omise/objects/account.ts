import { stamp } from '../clock.ts';
import { textField } from '../http/fields.ts';
import type { Call } from '../http/router.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { CURRENT_VERSION } from './versions.ts';

/** What differs between merchants; names as on the wire. */
export interface AccountSettings {
  country: string;
  currency: string;
  /** The version that events and webhooks are written in, whatever version a request asks for. */
  api_version: string;
  livemode: boolean;
  email: string;
  webhook_uri: string | null;
  supported_currencies: string[];
  payment_methods: string[];
  /** Minor units of the account's currency. */
  charge_amount: { min: number; max: number };
  created_at: string;
}

// The recorded Thai test account: THB 20 up to five billion.
const CHARGE_AMOUNT = { min: 2_000, max: 500_000_000_000 };
const CURRENCIES = ['THB', 'JPY', 'USD', 'EUR', 'GBP', 'SGD', 'AUD', 'CHF', 'CNY', 'DKK', 'HKD', 'MYR'];
const METHODS = [
  'card',
  'mobile_banking_bay',
  'mobile_banking_bbl',
  'mobile_banking_kbank',
  'mobile_banking_ktb',
  'mobile_banking_scb',
  'promptpay',
  'truemoney',
];

export function accountSettings(
  now: number,
  webhookUri: string | null,
  wanted: Partial<AccountSettings> = {},
): AccountSettings {
  return {
    country: 'TH',
    currency: 'THB',
    api_version: CURRENT_VERSION,
    livemode: false,
    email: 'developer@example.com',
    webhook_uri: webhookUri,
    supported_currencies: [...CURRENCIES],
    payment_methods: [...METHODS],
    charge_amount: { ...CHARGE_AMOUNT },
    created_at: stamp(now),
    ...wanted,
  };
}

export function readAccount(call: Call): JsonObject {
  const { account } = call.world;
  return {
    object: 'account',
    id: `account_${account.livemode ? '' : 'test_'}62e6vi5uwgkfh4aal8o`,
    team: 'acct_62e6vbkqm3ejizkh4qr',
    livemode: account.livemode,
    location: '/account',
    country: account.country,
    currency: account.currency,
    email: account.email,
    created_at: account.created_at,
    supported_currencies: account.supported_currencies,
    api_version: account.api_version,
    webhook_uri: account.webhook_uri,
    ...structuredClone(UNUSED_FEATURES),
  };
}

export function updateAccount(call: Call): JsonObject {
  if ('webhook_uri' in call.input) call.world.account.webhook_uri = textField(call.input, 'webhook_uri');
  return readAccount(call);
}

/** As recorded; nothing in the stand-in depends on them. */
const UNUSED_FEATURES: JsonObject = {
  auto_activate_recipients: false,
  chain_enabled: false,
  zero_interest_installments: false,
  chain_return_uri: null,
  metadata_export_keys: { charge: [], transfer: [], refund: [], dispute: [] },
  chaining_allowed: true,
  last_updated_api_version: '2025-01-13',
  transfer_config: {
    min_transfer_amount: '30.00',
    max_transfer_amount: '1000000000.00',
    same_bank_max_transfer_amount: '1000000000.00',
    is_payout_enabled: false,
    fee: '30.00',
    provider: '',
    merchant_id: 'OPNK',
    transfer_service_availability: null,
    max_active_realtime_transfer_schedules: null,
  },
};

export function readCapability(call: Call): JsonObject {
  const { account } = call.world;
  return {
    object: 'capability',
    location: '/capability',
    banks: ['test', 'bbl', 'kbank', 'ktb', 'ttb', 'scb', 'bay', 'gsb'],
    limits: {
      charge_amount: { max: account.charge_amount.max, min: account.charge_amount.min },
      transfer_amount: { max: 100_000_000_000, min: 3_000 },
      installment_amount: { min: 200_000 },
    },
    payment_methods: account.payment_methods.map((name) => paymentMethod(account, name)),
    country: account.country,
    tokenization_methods: ['googlepay', 'applepay'],
    zero_interest_installments: false,
  };
}

const CARD_BRANDS = ['JCB', 'Visa', 'MasterCard', 'American Express', 'UnionPay'];

function paymentMethod(account: AccountSettings, name: string): JsonObject {
  const isCard = name === 'card';
  return {
    object: 'payment_method',
    name,
    currencies: isCard ? account.supported_currencies : [account.currency],
    card_brands: isCard ? CARD_BRANDS : null,
    installment_terms: null,
    loan_installment_terms: null,
    banks: [],
    provider: null,
  };
}

export function readBalance(call: Call): JsonObject {
  const { account, clock } = call.world;
  const total = balanceOf(call.world);
  return {
    object: 'balance',
    livemode: account.livemode,
    location: '/balance',
    currency: account.currency,
    total,
    transferable: total,
    reserve: 0,
    on_hold: 0,
    created_at: stamp(clock.now()),
  };
}

function balanceOf(world: World): number {
  let total = 0;
  for (const { direction, amount } of world.transactions.values()) total += direction === 'credit' ? amount : -amount;
  return total;
}
