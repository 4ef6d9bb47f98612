import type { Config } from '../../platform/config.ts';
import type { Log } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import { publicKeyOf } from '../../platform/nostr/event.ts';
import { createEvmRail, type EvmRail } from './evm/evm.ts';
import type { Network } from './lightning/invoice.ts';
import { createLightningRail, type LightningRail } from './lightning/lightning.ts';
import type { ReceiptRules } from './lightning/zap-receipt.ts';
import { createOmiseRail } from './omise.ts';
import type { Rail } from './rail.ts';

/** Omise as this installation is configured. */
export function omiseRail(config: Config, { log, metrics }: { log: Log; metrics: Metrics }): Rail {
  const webhookUrl = `${config.PUBLIC_URL}/v1/webhooks/omise`;
  return createOmiseRail({
    url: config.OMISE_URL,
    secretKey: config.OMISE_SECRET_KEY,
    publicKey: config.OMISE_PUBLIC_KEY,
    deadlineMs: config.OMISE_DEADLINE_MS,
    webhookUrl: webhookUrl.startsWith('https:') ? webhookUrl : null,
    currency: config.CURRENCY,
    onCall: (operation, outcome, reason) => {
      metrics.providerCalls.inc({ operation, outcome });
      if (outcome !== 'ok') log.warn({ operation, outcome, reason }, 'the payment provider did not do as asked');
    },
  });
}

const CHAIN_DEADLINE_MS = 5_000; // for one call; a node that takes longer is passed over for the next one

/** The chains of EVM_CHAINS. */
export const evmRail = (config: Config, { log, metrics }: { log: Log; metrics: Metrics }): EvmRail =>
  createEvmRail({
    ...{ chains: config.EVM_CHAINS, deadlineMs: CHAIN_DEADLINE_MS, log },
    onCall: (method, outcome) => metrics.providerCalls.inc({ operation: `evm.${method}`, outcome }),
  });

const WALLET_DEADLINE_MS = 8_000; // for one question; wallets on phones are slow

/** The wallet of NWC_URL; `null`: none. `onReceived` is told, by payment hash, what the wallet says has been paid. */
export const lightningRail = (
  config: Config,
  { log, metrics, onReceived }: { log: Log; metrics: Metrics; onReceived(paymentHash: string): void },
): LightningRail | null =>
  config.NWC_URL
    ? createLightningRail({
        ...{
          connection: config.NWC_URL,
          networks: networksOf(config),
          deadlineMs: WALLET_DEADLINE_MS,
          log,
          onReceived,
        },
        onCall: (method, outcome) => {
          metrics.providerCalls.inc({ operation: `nwc.${method}`, outcome });
          if (method === 'lookup_invoice' && outcome === 'ok') metrics.walletTold.at = new Date();
        },
      })
    : null;

/** Whose zap receipts are believed here, and of payments to whom. A test installation takes no real money, a live one no other. */
export const zapRules = (config: Config): ReceiptRules => ({
  providers: config.ZAP_PROVIDERS,
  recipient: config.NOSTR_SECRET_KEY ? publicKeyOf(config.NOSTR_SECRET_KEY) : null,
  networks: networksOf(config),
  descriptionHash: config.ZAP_DESCRIPTION_HASH,
  lnurl: config.ZAP_LNURL ?? null,
});

const networksOf = ({ livemode }: Config): ReadonlySet<Network> =>
  new Set<Network>(livemode ? ['bc'] : ['tb', 'tbs', 'bcrt']);
