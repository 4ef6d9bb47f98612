import { expect } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, type Json } from '../harness/client.ts';
import { bothProofs, type KeyHolder, keyHolder, link, type WalletHolder, walletHolder } from '../harness/dids.ts';
import type { Cell, Scenario } from './cell.ts';

interface SigningIn {
  anybody: Client;
  holder: KeyHolder;
  session?: Json;
}

const isAnswered = ({ status }: { status: number }) => status < 500 && status !== 429;

/** Answers until it works: an answer that was lost may have used its challenge up, and then there is another one. */
async function answers(cell: Cell, client: Client, path: string, ask: Json, body: (challenge: Json) => Promise<Json>) {
  return cell.until(`${path} is answered`, async () => {
    const challenge = await cell.insist(client, 'POST', '/v1/auth/did/challenges', { body: ask });
    const reply = await cell.insist(client, 'POST', path, { body: await body(challenge) }, isAnswered);
    return reply.code === undefined ? reply : undefined;
  });
}

const signedIn: Scenario<SigningIn> = {
  name: 'a DID signs in for the first time',
  points: ['identity.did.after_attempt', 'identity.did.after_consume', 'identity.did.after_sign_in'],
  set: async ({ farebox }) => ({ anybody: clientOf(farebox.url), holder: keyHolder() }),
  play: async (cell, state) => {
    const { anybody, holder } = state;
    const ask = { did: holder.did, purpose: 'login' };
    state.session = await answers(cell, anybody, '/v1/auth/did/tokens', ask, async (challenge) => ({
      challenge_id: challenge.challenge_id,
      proof: await holder.prove(challenge),
    }));
  },
  check: async ({ sql, farebox }, { holder, session }) => {
    const me = await clientOf(farebox.url, { token: session.access_token }).ok('GET', '/v1/me');
    const id = fromWire('account', me.id);
    const [row] = await sql`
      select (select account_id from identity.dids where did = ${holder.did}) as account,
        (select count(*)::int from platform.audit_log where action = 'identity.did_account_opened'
          and position(${holder.did} in detail) > 0) as opened,
        (select count(*) from identity.refresh_tokens where account_id = ${id})
          = (select count(*) from identity.did_challenges where did = ${holder.did} and consumed_at is not null) as "eachOnce"`;
    expect(row).toEqual({ account: id, opened: 1, eachOnce: true });
  },
};

interface Linking {
  customer: Client;
  holder: KeyHolder;
  wallet: WalletHolder;
}

const walletLinked: Scenario<Linking> = {
  name: 'a wallet is linked',
  points: ['identity.did.after_attempt', 'identity.did.after_consume'],
  set: async (stage) => {
    const [customer, holder] = [await stage.customer(0), keyHolder()];
    await link(customer, holder);
    return { customer, holder, wallet: walletHolder() };
  },
  play: async (cell, { customer, holder, wallet }) => {
    const ask = { did: holder.did, purpose: 'wallet', wallet: `eip155:1:${wallet.address}` };
    await answers(cell, customer, '/v1/wallets', ask, (challenge) => bothProofs(challenge, holder, wallet));
  },
  check: async ({ sql }, { customer, wallet }) => {
    const { data } = await customer.ok('GET', '/v1/wallets');
    expect(data.map((one: Json) => one.address)).toEqual([wallet.address]);
    const [row] =
      await sql`select count(*)::int as n from identity.wallets where address = ${wallet.address.toLowerCase()}`;
    expect(row).toEqual({ n: 1 });
  },
};

export const identityScenarios = [signedIn, walletLinked];
