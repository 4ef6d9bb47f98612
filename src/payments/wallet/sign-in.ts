import { answerTo, type DeedOrder } from './deeds.ts';
import { faultOf, talk } from './talk.ts';

/** An access token of the account that a key opens. */
export async function signIn({ base, key }: Pick<DeedOrder, 'base' | 'key'>, what: string): Promise<string> {
  const asked = await talk(base, '/v1/auth/did/challenges', { body: { did: key.did, purpose: 'login' } });
  if (asked.status !== 201) throw faultOf(what, asked);
  const body = await answerTo(asked.body, { base, key }, { purpose: 'login' }, what);
  const opened = await talk(base, '/v1/auth/did/tokens', { body });
  const token = opened.body['access_token'];
  if (opened.status >= 300 || typeof token !== 'string') throw faultOf(what, opened);
  return token;
}
