import { desc, eq, isNotNull } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { toWire } from '../../platform/ids.ts';
import { type EventTemplate, signEvent } from '../../platform/nostr/event.ts';
import { msatPerCredit } from '../asks/policy.ts';
import type { Service } from '../services.ts';
import { services } from '../tables.ts';
import type { DvmDeps } from './deps.ts';
import { words } from './tables.ts';

/** Tells on Nostr which jobs are done here and what they cost (NIP-89, kind 31990): again whenever it changes, and now and then. */

const ANNOUNCEMENT = 31_990;
const DELETION = 5;
const EVERY_MS = 10_000;
const AGAIN_MS = 6 * 3_600_000; // relays forget, and new ones are added at a start

export function announcer(deps: DvmDeps): Worker {
  const startedAt = Date.now();
  return {
    name: 'nostr-announcer',
    everyMs: EVERY_MS,
    runOnce: async () => {
      const offered = await deps.db.select().from(services).where(isNotNull(services.nostrKind));
      const since = new Date(Math.max(startedAt, Date.now() - AGAIN_MS));
      // One that cannot be told of does not keep the others from it.
      await inParallel(offered, 1, (service) => deps.db.transaction((tx) => announce(tx, deps, service, since)));
      return { more: false };
    },
  };
}

/** `since`: what is offered is told of anew when that was not done since then. */
async function announce(tx: Tx, { key, rules, wakePublisher }: DvmDeps, service: Service, since: Date): Promise<void> {
  const topic = `service ${service.id}`;
  await tx.select({ id: services.id }).from(services).where(eq(services.id, service.id)).for('update');
  const [before] = await tx
    .select()
    .from(words)
    .where(eq(words.topic, topic))
    .orderBy(desc(words.createdAt), desc(words.seq))
    .limit(1);
  if (!before && !service.active) return;
  const template = service.active
    ? announcementOf(service, rules.lnurl)
    : withdrawalOf(service, before?.event.pubkey ?? '');
  const isSame = before && before.event.content === template.content && before.event.kind === template.kind;
  const isFresh = !service.active || (before && before.createdAt >= since);
  if (isSame && isFresh && JSON.stringify(before.event.tags) === JSON.stringify(template.tags)) return;
  // Of two versions relays keep the later one.
  const created_at = Math.max(Math.floor(Date.now() / 1000), (before?.event.created_at ?? 0) + 1);
  const event = signEvent({ ...template, created_at }, key);
  await tx.insert(words).values({ id: event.id, seq: (before?.seq ?? 0) + 1, topic, event, isLast: false });
  wakePublisher();
}

function announcementOf(service: Service, lnurl: string | null): Omit<EventTemplate, 'created_at'> {
  const { mode, milestones, quote_ttl_s } = service.payment;
  const perCredit = msatPerCredit(service.payment);
  return {
    kind: ANNOUNCEMENT,
    tags: [
      ['d', toWire('service', service.id)],
      ['k', String(service.nostrKind)],
    ],
    content: JSON.stringify({
      name: service.name,
      about: service.description,
      ...(lnurl === null ? {} : { lud06: lnurl }),
      encryptionSupported: true,
      payment: {
        mode,
        credits: Number(service.creditCost),
        amount_msat: perCredit === null ? null : String(service.creditCost * perCredit),
        parts_msat: milestones && perCredit !== null ? milestones.map((one) => String(BigInt(one) * perCredit)) : null,
        quote_ttl_s,
      },
      input_schema: service.inputSchema,
    }),
  };
}

const withdrawalOf = ({ id }: Service, pubkey: string): Omit<EventTemplate, 'created_at'> => ({
  kind: DELETION,
  tags: [
    ['a', `${ANNOUNCEMENT}:${pubkey}:${toWire('service', id)}`],
    ['k', String(ANNOUNCEMENT)],
  ],
  content: 'It is not offered any more.',
});
