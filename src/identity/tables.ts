import { sql } from 'drizzle-orm';
import { bigint, index, integer, pgSchema, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { bytea, createdAt, moment } from '../platform/database/columns.ts';
import type { IdKind } from '../platform/ids.ts';

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
    /** Whose account it is when it is nobody's who has signed up: `nostr:` and a public key. */
    shadowOf: text('shadow_of'),
    role: text('role').$type<'user' | 'merchant' | 'operator'>().notNull().default('user'),
    /** Raised to cut off every token that was issued before. */
    tokenVersion: integer('token_version').notNull().default(1),
    disabledAt: moment('disabled_at'),
    createdAt: createdAt(),
  },
  (t) => [
    uniqueIndex('accounts_email').on(sql`lower(${t.email})`),
    uniqueIndex('accounts_shadow').on(t.shadowOf).where(sql`shadow_of is not null`),
  ],
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

/** An operator's log-in at the pages of the internal listener. */
export const operatorSessions = identitySchema.table(
  'operator_sessions',
  {
    tokenHash: bytea('token_hash').primaryKey(),
    accountId: uuid('account_id')
      .notNull()
      .references(() => accounts.id),
    /** The account's when it was opened: raised, the session is over. */
    tokenVersion: integer('token_version').notNull(),
    createdAt: createdAt(),
    seenAt: moment('seen_at').notNull().default(sql`now()`),
  },
  (t) => [index('operator_sessions_account').on(t.accountId)],
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

/** The keys of our own DID, which sign receipts. All are published for as long as what they signed must verify: for ever. */
export const serviceKeys = identitySchema.table(
  'service_keys',
  {
    /** did:key of an Ed25519 key. */
    did: text('did').primaryKey(),
    /** 32 bytes, sealed with the installation's encryption key. */
    privateKey: bytea('private_key').notNull(),
    createdAt: createdAt(),
    /** From then on it signs no more. */
    retiredAt: moment('retired_at'),
  },
  (_t) => [uniqueIndex('service_keys_signing').on(sql`(true)`).where(sql`retired_at is null`)],
);

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

/** What a holder of a DID may be asked to sign for. The last four are asked by other contexts. */
export type Purpose = 'login' | 'link' | 'wallet' | 'payment' | 'status' | 'refund' | 'order';

/** What somebody is asked to sign, once. All of it is in the signed bytes, which are made anew from this row. */
export const didChallenges = identitySchema.table(
  'did_challenges',
  {
    id: uuid('id').primaryKey(),
    nonce: text('nonce').notNull(),
    did: text('did').notNull(),
    purpose: text('purpose').$type<Purpose>().notNull(),
    /** One sentence for people, that is signed, too. */
    statement: text('statement').notNull(),
    /** Lower-case address that signs by EIP-191: of a did:pkh, or to be linked to a did:key. */
    wallet: text('wallet'),
    /** As the wallet was named; the signature does not depend on it. */
    chainId: bigint('chain_id', { mode: 'number' }),
    /** What the answer is good for, and for nothing else: the account to link to, a payment request, … */
    subjectType: text('subject_type').$type<IdKind>(),
    subjectId: uuid('subject_id'),
    /** SHA-256 in hex of the frozen terms that are agreed to. */
    termsHash: text('terms_hash'),
    attempts: integer('attempts').notNull().default(0),
    createdAt: createdAt(),
    expiresAt: moment('expires_at').notNull(),
    consumedAt: moment('consumed_at'),
  },
  (t) => [uniqueIndex('did_challenges_nonce').on(t.nonce), index('did_challenges_expiry').on(t.expiresAt)],
);

/** The DIDs that open an account. */
export const dids = identitySchema.table(
  'dids',
  {
    id: uuid('id').primaryKey(),
    /** In its one canonical spelling. */
    did: text('did').notNull(),
    accountId: uuid('account_id')
      .notNull()
      .references(() => accounts.id),
    /** The address that the key itself has, lower-case. */
    wallet: text('wallet'),
    /** Whose answer brought it here. */
    challengeId: uuid('challenge_id')
      .notNull()
      .references(() => didChallenges.id),
    createdAt: createdAt(),
  },
  (t) => [
    uniqueIndex('dids_did').on(t.did),
    uniqueIndex('dids_challenge').on(t.challengeId),
    index('dids_account').on(t.accountId, t.createdAt),
    index('dids_wallet').on(t.wallet).where(sql`wallet is not null`),
  ],
);

/** Wallets that were linked to a DID by two proofs over one nonce, with both proofs. */
export const wallets = identitySchema.table(
  'wallets',
  {
    id: uuid('id').primaryKey(),
    didId: uuid('did_id')
      .notNull()
      .references(() => dids.id, { onDelete: 'cascade' }),
    /** Lower-case. */
    address: text('address').notNull(),
    challengeId: uuid('challenge_id')
      .notNull()
      .references(() => didChallenges.id),
    didJwt: text('did_jwt').notNull(),
    siweSignature: text('siwe_signature').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    uniqueIndex('wallets_link').on(t.didId, t.address),
    uniqueIndex('wallets_challenge').on(t.challengeId),
    index('wallets_address').on(t.address),
  ],
);
