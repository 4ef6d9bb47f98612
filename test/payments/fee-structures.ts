import type { Json } from '../harness/client.ts';

/**
 * `/keys` documents of exchanges, synthetic: values and fees are those that the exchanges of GNU Taler publish or publish
 * templates for, keys and signatures are made up, since nobody looks at them here.
 */

/** One denomination: value, and its fees for withdrawing, depositing, refreshing and refunding. */
type Coin = [value: string, withdraw: string, deposit: string, refresh: string, refund: string];
export interface Tariff {
  currency: string;
  coins: Coin[];
}

const all = (fee: string, values: string[]): Coin[] => values.map((value) => [value, fee, fee, fee, fee]);

/** The demo exchange of 2020. */
export const kudos: Tariff = { currency: 'KUDOS', coins: all('0.01', ['1000', '10', '5', '2', '1', '0.1']) };

/** `coins-rsa.conf` of the exchange's tests. */
export const euro: Tariff = {
  currency: 'EUR',
  coins: [
    ['0.01', '0', '0', '0.01', '0.01'],
    ...['0.10', '1', '5', '10'].map((value): Coin => [value, '0.01', '0.01', '0.03', '0.01']),
  ],
};

/** The template for new exchanges, `exchange-keyup.conf`. */
export const template: Tariff = { currency: 'EUR', coins: all('0.01', ['0.10', '5', '10', '1000']) };

/** Of the demo exchange: 1095 days to withdraw, 730 more to spend. Seconds since 1970. */
export const DEMO = { start: 1_585_229_388, withdraw: 1_679_837_388, deposit: 1_742_909_388, legal: 1_900_589_388 };
export const IN_TIME = (DEMO.start + 86_400) * 1000;

type Stamps = typeof DEMO;
const tariffOf = (currency: string, [value, withdraw, deposit, refresh, refund]: Coin) => ({
  value: `${currency}:${value}`,
  fee_withdraw: `${currency}:${withdraw}`,
  fee_deposit: `${currency}:${deposit}`,
  fee_refresh: `${currency}:${refresh}`,
  fee_refund: `${currency}:${refund}`,
});
const stamped = (stamps: Stamps, time: (seconds: number) => unknown) => ({
  stamp_start: time(stamps.start),
  stamp_expire_withdraw: time(stamps.withdraw),
  stamp_expire_deposit: time(stamps.deposit),
  stamp_expire_legal: time(stamps.legal),
});
const MADE_UP = { rsa_pub: '040000Y4'.repeat(53), master_sig: '4F0P456CNNTTW'.repeat(8).slice(0, 103) };

/** As exchanges answer today; with `stamps`, one key for each. */
export const modern = ({ currency, coins }: Tariff, stamps: Stamps[] = [DEMO], more: object = {}): Json => ({
  ...{ version: '21:0:4', base_url: 'https://exchange.example/', currency, stefan_lin: 0.01, signkeys: [] },
  denominations: coins.map((coin) => ({
    ...{ cipher: 'RSA', ...tariffOf(currency, coin) },
    denoms: stamps.map((one) => ({ ...MADE_UP, ...stamped(one, (seconds) => ({ t_s: seconds })) })),
  })),
  ...more,
});

/** As they did until 2022. */
export const old = (
  { currency, coins }: Tariff,
  time = (seconds: number): unknown => ({ t_ms: seconds * 1000 }),
): Json => ({
  ...{ version: '8:0:0', master_public_key: 'CQQZ9DY3', list_issue_date: time(DEMO.start) },
  denoms: coins.map((coin) => ({ ...tariffOf(currency, coin), ...stamped(DEMO, time), denom_pub: MADE_UP.rsa_pub })),
});

/** And in 2018. */
export const older = (tariff: Tariff): Json => old(tariff, (seconds) => `/Date(${seconds})/`);
