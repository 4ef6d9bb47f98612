import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { type Chain, dollarsOf, newWallet, startChain, type Wallet } from '../harness/chain.ts';
import { type Client, clientOf, eventually, type Json, newMerchant, newOperator } from '../harness/client.ts';
import { type Holder, type KeyType, keyHolder, signIn } from '../harness/dids.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';

type Stage = Omit<RequestStage, 'close'>;

/** A chain, a Farebox that takes its test dollars, a merchant, and payers with DIDs and wallets. */
export interface RequestStage {
  chain: Chain;
  farebox: TestFarebox;
  operator: Client;
  merchant: Client;
  root: postgres.Sql;
  close(): Promise<void>;
}

/** Whoever pays: a DID, a wallet that belongs to it, and the account that it opens. */
export interface Payer extends Holder {
  client: Client;
  wallet: Wallet;
}

export async function openRequestStage(
  finality: Json = { usual: 1 },
  more: Record<string, string> = {},
): Promise<RequestStage> {
  const chain = await startChain();
  const env = { EVM_CHAINS: JSON.stringify([{ ...chain.setting, finality }]), ...more };
  const farebox = await fareboxForFile({ env });
  const root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  const stage = await requestStageOn(chain, farebox, await newOperator(farebox), root);
  const close = async () => {
    await root.end();
    await farebox.stop();
    await chain.stop();
  };
  return { ...stage, close };
}

/** The same on a Farebox that is there already, and knows the chain. */
export async function requestStageOn(
  chain: Chain,
  farebox: TestFarebox,
  operator: Client,
  root: postgres.Sql,
): Promise<Stage> {
  return { chain, farebox, operator, root, merchant: await newMerchant(farebox) };
}

/** Its key is its wallet's (secp256k1), or it has linked one. */
export async function newPayer({ chain, farebox }: Stage, type: KeyType | 'pkh' = 'pkh'): Promise<Payer> {
  const wallet = await newWallet(chain);
  const { account } = wallet;
  const sign = (message: string) => wallet.signMessage({ account, message });
  if (type === 'pkh') {
    const did = `did:pkh:eip155:1:${account.address.toLowerCase()}`;
    const holder: Holder = {
      did,
      prove: async (asked) => ({ type: 'siwe', signature: await sign(asked.siwe_message) }),
    };
    return { ...holder, wallet, client: await signIn(farebox, holder) };
  }
  const holder = keyHolder(type);
  const client = await signIn(farebox, holder);
  const body = { did: holder.did, purpose: 'wallet', wallet: `eip155:1:${account.address}` };
  const asked = await client.ok('POST', '/v1/auth/did/challenges', { body });
  const { jwt } = await holder.prove(asked);
  const proofs = { challenge_id: asked.challenge_id, did_jwt: jwt, siwe_signature: await sign(asked.siwe_message) };
  await client.ok('POST', '/v1/wallets', { body: proofs });
  return { ...holder, wallet, client };
}

export const TEN = 10_000_000n; // test dollars have six decimals

/** What the merchant asks for: ten dollars for a thousand credits, unless said otherwise. */
export const askFor = ({ merchant, chain }: Stage, payer: Holder, more: Json = {}): Promise<Json> =>
  merchant.ok('POST', '/v1/payment-requests', {
    key: randomUUID(),
    body: {
      ...{ payer: payer.did, asset: dollarsOf(chain), amount: TEN.toString() },
      ...{ purpose: { type: 'credits', credits: 1000 }, description: 'A thousand credits', ...more },
    },
  });

/** The payer signs the terms. */
export async function agree({ farebox }: Stage, payer: Holder, request: Json): Promise<Json> {
  const anybody = clientOf(farebox.url);
  const asked = await anybody.ok('POST', `/v1/payment-requests/${request.id}/challenges`);
  const body = { challenge_id: asked.challenge_id, proof: await payer.prove(asked) };
  return anybody.ok('POST', `/v1/payment-requests/${request.id}/authorizations`, { body });
}

export const submit = (payer: Payer, request: Json, hash: string): Promise<Json> =>
  payer.client.ok('POST', `/v1/payment-requests/${request.id}/transactions`, { body: { tx_hash: hash } });

export const requestOf = (client: Client, request: Json): Promise<Json> =>
  client.ok('GET', `/v1/payment-requests/${request.id}`);

/** The request once it stands there; its transactions are looked at again at once meanwhile. */
export const standing = ({ root }: Stage, client: Client, request: Json, status: string): Promise<Json> =>
  eventually(
    async () => {
      await root`update payments.request_transactions set next_check_at = least(next_check_at, now())`;
      return requestOf(client, request);
    },
    (now) => now.status === status,
  );
