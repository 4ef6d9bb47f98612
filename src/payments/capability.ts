import type { Worker } from '../platform/delivery/worker.ts';
import { BootFault } from '../platform/installation.ts';
import type { Log } from '../platform/log.ts';
import type { Package } from './packages.ts';
import type { Capability, Rail } from './rails/rail.ts';

/** The methods that Farebox knows how to offer, in the order in which they are shown. */
export const METHODS = [
  'promptpay',
  'card',
  'truemoney',
  'mobile_banking_scb',
  'mobile_banking_kbank',
  'mobile_banking_bay',
  'mobile_banking_bbl',
  'mobile_banking_ktb',
] as const;
export type Method = (typeof METHODS)[number];

/** PromptPay has limits of its own, tighter than the account's: THB 20 to 150 000, in satang. */
const PROMPTPAY_LIMITS = { min: 2_000n, max: 15_000_000n };

/** What the provider's account can do, read at the start and every hour. Until it is known, everything is offered. */
export interface Capabilities {
  methodsFor(one: Pick<Package, 'price' | 'currency'>): Method[];
  /** Reads the account; throws `BootFault` when it is not the one that the configuration means. */
  refresh(): Promise<void>;
  worker: Worker;
}

const EVERY_MS = 3_600_000;

export function watchCapabilities(
  rail: Rail,
  expected: { livemode: boolean; currency: string; apiVersion: string; webhookUrl: string },
  log: Log,
): Capabilities {
  let known: Capability | undefined;
  const refresh = async () => {
    const outcome = await rail.capability();
    if (outcome.outcome !== 'ok') {
      log.warn({ outcome: outcome.outcome }, 'the payment provider did not tell what it can do; asking again later');
      return;
    }
    known = outcome.value;
    if (known.livemode !== expected.livemode)
      throw new BootFault('The Omise account and its keys are of different modes.');
    if (known.currency !== expected.currency) {
      throw new BootFault(`CURRENCY is ${expected.currency}, but the Omise account settles in ${known.currency}.`);
    }
    if (known.apiVersion !== expected.apiVersion) {
      log.warn(
        { api_version: known.apiVersion, expected: expected.apiVersion },
        'the Omise account has another API version; only ids are taken from its events',
      );
    }
    if (known.webhookUri !== expected.webhookUrl) {
      log.warn(
        { expected: expected.webhookUrl },
        "the Omise account's webhook address is another one; charges name ours where it is https",
      );
    }
  };
  return {
    methodsFor: ({ price, currency }) =>
      METHODS.filter((method) => {
        if (
          method === 'promptpay' &&
          currency === 'THB' &&
          (price < PROMPTPAY_LIMITS.min || price > PROMPTPAY_LIMITS.max)
        )
          return false;
        return !known || (known.methods.has(method) && price >= known.minAmount && price <= known.maxAmount);
      }),
    refresh,
    worker: {
      name: 'provider-capability',
      everyMs: EVERY_MS,
      runOnce: async () => {
        await refresh();
        return { more: false };
      },
    },
  };
}
