import { and, asc, desc, eq, gte, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db, Tx } from '../platform/database/clients.ts';
import { amount, amountOut, head, headOut } from '../platform/http/wire.ts';
import { newId, toWire } from '../platform/ids.ts';
import { packages } from './tables.ts';

export type Package = typeof packages.$inferSelect;

export const PackageOut = z
  .object({
    ...headOut('package'),
    name: z.string(),
    description: z.string(),
    credits: amountOut,
    price: amountOut.describe('minor units of the currency'),
    currency: z.string(),
    active: z.boolean(),
  })
  .meta({ id: 'Package' });

export const renderPackage = (one: Package): z.infer<typeof PackageOut> => ({
  ...head('package', one),
  name: one.name,
  description: one.description,
  credits: amount(one.credits),
  price: amount(one.price),
  currency: one.currency,
  active: one.active,
});

export type PackageTerms = Pick<Package, 'name' | 'description' | 'credits' | 'price' | 'currency' | 'active'>;

export async function createPackage(tx: Tx, terms: PackageTerms): Promise<Package> {
  const [made] = await tx
    .insert(packages)
    .values({ id: newId(), ...terms })
    .returning();
  if (!made) throw new Error('no package was made');
  return made;
}

/** Renames, describes, offers or withdraws; what a package sells never changes. `undefined`: there is none. */
export async function changePackage(
  tx: Tx,
  id: string,
  change: Partial<Pick<Package, 'name' | 'description' | 'active'>>,
): Promise<Package | undefined> {
  const [changed] = await tx.update(packages).set(change).where(eq(packages.id, id)).returning();
  return changed;
}

export async function findPackage(on: Db | Tx, id: string): Promise<Package | undefined> {
  const [found] = await on.select().from(packages).where(eq(packages.id, id));
  return found;
}

/** Newest first; customers see the active ones. */
export const listPackages = (db: Db, onlyActive: boolean, after: string | null, limit: number): Promise<Package[]> =>
  db
    .select()
    .from(packages)
    .where(
      and(
        onlyActive ? eq(packages.active, true) : undefined,
        after === null
          ? undefined
          : sql`(${packages.createdAt}, ${packages.id}) < (select created_at, id from ${packages} where id = ${after}::uuid)`,
      ),
    )
    .orderBy(desc(packages.createdAt), desc(packages.id))
    .limit(limit);

const OFFERED = 3;

/**
 * Ways to get credits that are missing: the cheapest packages that cover them, or the largest one, several times. Each
 * entry is a request that can be sent as it is.
 */
export async function payWith(db: Db, shortfall: bigint) {
  const covering = await db
    .select()
    .from(packages)
    .where(and(eq(packages.active, true), gte(packages.credits, shortfall)))
    .orderBy(asc(packages.price), asc(packages.id))
    .limit(OFFERED);
  const offered = covering.length > 0 ? covering : await largest(db);
  return offered.map((one) => ({
    package_id: toWire('package', one.id),
    name: one.name,
    credits: amount(one.credits),
    price: amount(one.price),
    currency: one.currency,
    quantity: amount((shortfall + one.credits - 1n) / one.credits),
    method: 'POST',
    href: '/v1/purchases',
    body: { package_id: toWire('package', one.id), method: { type: 'payment_link' } },
  }));
}

const largest = (db: Db) =>
  db.select().from(packages).where(eq(packages.active, true)).orderBy(desc(packages.credits)).limit(1);
