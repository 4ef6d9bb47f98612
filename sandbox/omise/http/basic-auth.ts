import { Buffer } from 'node:buffer';
import type { World } from '../state.ts';
import { unauthorized } from './refusals.ts';

/** Which key an endpoint takes: the secret one, the public one (what a browser holds), or none (pages for people). */
export type KeyKind = 'secret' | 'public' | 'none';

/** HTTP Basic with the key as the user name and an empty password. */
export function checkKey(world: World, kind: KeyKind, authorization: string | undefined): void {
  if (kind === 'none') return;
  const expected = kind === 'secret' ? world.keys.secretKey : world.keys.publicKey;
  if (userName(authorization) !== expected) throw unauthorized();
}

function userName(authorization: string | undefined): string | null {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return null;
  const [name = ''] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
  return name;
}
