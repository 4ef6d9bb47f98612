import { sql } from 'drizzle-orm';
import { index, integer, pgSchema, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { bytea, createdAt, moment } from '../platform/database/columns.ts';

/** Schema `identity`: the only place where personal data lives. */
export const identitySchema = pgSchema('identity');

export const accounts = identitySchema.table(
  'accounts',
  {
    id: uuid('id').primaryKey(),
    /** As typed; compared by `lower(email)`. */
    email: text('email'),
    /** Argon2id in PHC form. */
    passwordHash: text('password_hash'),
    role: text('role').$type<'user' | 'merchant' | 'operator'>().notNull().default('user'),
    /** Raised to cut off every token that was issued before. */
    tokenVersion: integer('token_version').notNull().default(1),
    disabledAt: moment('disabled_at'),
    createdAt: createdAt(),
  },
  (t) => [uniqueIndex('accounts_email').on(sql`lower(${t.email})`)],
);

export type Account = typeof accounts.$inferSelect;

/** One row per issued refresh token; a family is one log-in. */
export const refreshTokens = identitySchema.table(
  'refresh_tokens',
  {
    id: uuid('id').primaryKey(),
    familyId: uuid('family_id').notNull(),
    accountId: uuid('account_id')
      .notNull()
      .references(() => accounts.id),
    tokenHash: bytea('token_hash').notNull(),
    createdAt: createdAt(),
    expiresAt: moment('expires_at').notNull(),
    usedAt: moment('used_at'),
    revokedAt: moment('revoked_at'),
  },
  (t) => [
    uniqueIndex('refresh_tokens_hash').on(t.tokenHash),
    index('refresh_tokens_family').on(t.familyId),
    index('refresh_tokens_account').on(t.accountId),
    index('refresh_tokens_expiry').on(t.expiresAt),
  ],
);

export const apiKeys = identitySchema.table(
  'api_keys',
  {
    id: uuid('id').primaryKey(),
    accountId: uuid('account_id')
      .notNull()
      .references(() => accounts.id),
    name: text('name').notNull(),
    /** The first characters, to recognise a key by. */
    prefix: text('prefix').notNull(),
    keyHash: bytea('key_hash').notNull(),
    scopes: text('scopes').array().notNull(),
    createdAt: createdAt(),
    expiresAt: moment('expires_at'),
    lastUsedAt: moment('last_used_at'),
    revokedAt: moment('revoked_at'),
  },
  (t) => [uniqueIndex('api_keys_hash').on(t.keyHash), index('api_keys_account').on(t.accountId, t.createdAt, t.id)],
);

/** Ed25519 keys that sign access tokens. The newest that is in force signs; all that are not retired verify. */
export const signingKeys = identitySchema.table('signing_keys', {
  kid: text('kid').primaryKey(),
  publicPem: text('public_pem').notNull(),
  /** Sealed with the installation's encryption key. */
  privatePem: bytea('private_pem').notNull(),
  createdAt: createdAt(),
  /** Published before it signs, so that verifiers know it in time. */
  signsFrom: moment('signs_from').notNull(),
  retiredAt: moment('retired_at'),
});

/** One-time links by which an operator lets somebody set a new password. */
export const passwordResets = identitySchema.table(
  'password_resets',
  {
    tokenHash: bytea('token_hash').primaryKey(),
    accountId: uuid('account_id')
      .notNull()
      .references(() => accounts.id),
    createdAt: createdAt(),
    expiresAt: moment('expires_at').notNull(),
    usedAt: moment('used_at'),
  },
  (t) => [index('password_resets_account').on(t.accountId)],
);
