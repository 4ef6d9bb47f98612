/**
 * Who gets what at every address, by hand. A route that is missing here fails the test, and so does a row that no route
 * has. All requests are well-formed; what differs is who sends them.
 *
 * nobody      no credentials
 * bad         `Authorization: Bearer` with something that is not a token
 * key         the owner's API key (internal: the operator's), with every scope but the one that is needed; a key that
 *             has only that one gets what the owner gets
 * other       the access token of another customer (internal: of a customer)
 * operator    the access token of an operator, who owns nothing (public only)
 * owner       whose object it is (internal: the operator)
 */
export const callers = ['nobody', 'bad', 'key', 'other', 'operator', 'owner'] as const;
export type Caller = (typeof callers)[number];

/** `login`: an access token, but no API key. `signed`: a signature, or a token of its own kind. Others are scopes. */
type OpenedBy =
  | ('anyone' | 'login' | 'signed')
  | (
      | 'read'
      | 'purchases:write'
      | 'payment_requests:write'
      | 'orders:write'
      | 'refunds:write'
      | 'workflows:write'
      | 'runs:write'
      | 'webhooks:write'
      | 'operator'
    );
export type Row = [method: string, pattern: string, openedBy: OpenedBy, ...status: number[]];

// biome-ignore format: a table
export const publicRoutes: Row[] = [
  //                                                        opened by       nobody  bad  key other oper. owner
  ['POST',   '/v1/auth/register',                           'anyone',          201, 201, 201, 201, 201, 201],
  ['POST',   '/v1/auth/login',                              'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/v1/auth/refresh',                            'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/v1/auth/password-reset',                     'anyone',          204, 204, 204, 204, 204, 204],
  ['POST',   '/v1/auth/logout',                             'login',           401, 401, 403, 204, 204, 204],
  ['GET',    '/v1/me',                                      'read',            401, 401, 403, 200, 200, 200],
  ['PATCH',  '/v1/me',                                      'login',           401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/me/password',                             'login',           401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/api-keys',                                'login',           401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/api-keys',                                'login',           401, 401, 403, 201, 201, 201],
  ['DELETE', '/v1/api-keys/:id',                            'login',           401, 401, 403, 404, 404, 204],
  ['POST',   '/v1/auth/did/challenges',                     'anyone',          201, 201, 201, 201, 201, 201],
  ['POST',   '/v1/auth/did/tokens',                         'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/v1/me/dids',                                 'read',            401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/me/dids',                                 'login',           401, 401, 403, 401, 401, 201], // signed for the owner
  ['DELETE', '/v1/me/dids/:id',                             'login',           401, 401, 403, 404, 404, 204],
  ['GET',    '/v1/wallets',                                 'read',            401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/wallets',                                 'login',           401, 401, 403, 401, 401, 201], // signed for the owner
  ['DELETE', '/v1/wallets/:id',                             'login',           401, 401, 403, 404, 404, 204],
  ['GET',    '/v1/credits/balance',                         'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/credits/transfers',                       'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/packages',                                'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/v1/packages/:id',                            'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/v1/purchases',                               'purchases:write', 401, 401, 403, 201, 201, 201],
  ['GET',    '/v1/purchases',                               'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/purchases/:id',                           'read',            401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/purchases/:id/qr',                        'read',            401, 401, 403, 404, 404, 200],
  ['POST',   '/v1/purchases/:id/cancel',                    'purchases:write', 401, 401, 403, 404, 404, 200],
  ['POST',   '/v1/payment-requests',                        'payment_requests:write', 401, 401, 403, 403, 201, 403],
  ['GET',    '/v1/payment-requests',                        'read',            401, 401, 403, 200, 200, 200],
  // The operator has asked, and the owner is the payer.
  ['GET',    '/v1/payment-requests/:id',                    'read',            401, 401, 403, 404, 200, 200],
  ['POST',   '/v1/payment-requests/:id/cancel',             'payment_requests:write', 401, 401, 403, 404, 200, 404],
  ['POST',   '/v1/payment-requests/:id/challenges',         'anyone',          201, 201, 201, 201, 201, 201],
  ['POST',   '/v1/payment-requests/:id/authorizations',     'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/v1/payment-requests/:id/status',             'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/v1/payment-requests/:id/receipt',            'read',            401, 401, 403, 404, 409, 409], // it is not paid
  ['POST',   '/v1/payment-requests/:id/transactions',       'purchases:write', 401, 401, 403, 404, 403, 202],
  ['POST',   '/v1/fee-structures/evaluate',                 'read',            401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/quotes',                                  'read',            401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/receipts/verify',                         'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/v1/receipts',                                'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/v1/nostr/keys',                              'login',           401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/refunds',                                 'refunds:write',   401, 401, 403, 404, 404, 201],
  ['GET',    '/v1/refunds',                                 'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/refunds/:id',                             'read',            401, 401, 403, 404, 404, 200],
  ['POST',   '/v1/refunds/challenges',                      'refunds:write',   401, 401, 403, 404, 404, 201],
  ['GET',    '/v1/services',                                'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/services/:id',                            'read',            401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/workflows',                               'workflows:write', 401, 401, 403, 201, 201, 201],
  ['GET',    '/v1/workflows',                               'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/workflows/:id',                           'read',            401, 401, 403, 403, 403, 200],
  ['PATCH',  '/v1/workflows/:id',                           'workflows:write', 401, 401, 403, 403, 403, 200],
  ['DELETE', '/v1/workflows/:id',                           'workflows:write', 401, 401, 403, 403, 403, 204],
  ['POST',   '/v1/workflows/:id/runs',                      'runs:write',      401, 401, 403, 403, 403, 202],
  ['GET',    '/v1/runs',                                    'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/runs/:id',                                'read',            401, 401, 403, 404, 404, 200],
  ['POST',   '/v1/runs/:id/cancel',                         'runs:write',      401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/runs/:id/parts',                          'read',            401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/runs/:id/events',                         'read',            401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/runs/:id/parts/:number',                  'read',            401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/asks',                                    'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/asks/:id',                                'read',            401, 401, 403, 404, 404, 200],
  ['POST',   '/v1/asks/:id/pay',                            'runs:write',      401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/events',                                  'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/events/stream',                           'read',            401, 401, 403, 200, 200, 200],
  ['POST',   '/v1/webhook-endpoints',                       'webhooks:write',  401, 401, 403, 201, 201, 201],
  ['GET',    '/v1/webhook-endpoints',                       'read',            401, 401, 403, 200, 200, 200],
  ['GET',    '/v1/webhook-endpoints/:id',                   'read',            401, 401, 403, 404, 404, 200],
  ['PATCH',  '/v1/webhook-endpoints/:id',                   'webhooks:write',  401, 401, 403, 404, 404, 200],
  ['DELETE', '/v1/webhook-endpoints/:id',                   'webhooks:write',  401, 401, 403, 404, 404, 204],
  ['POST',   '/v1/webhook-endpoints/:id/signing-secrets',   'webhooks:write',  401, 401, 403, 404, 404, 201],
  ['GET',    '/v1/webhook-endpoints/:id/deliveries',        'read',            401, 401, 403, 404, 404, 200],
  ['GET',    '/v1/webhook-endpoints/:id/deliveries/:delivery_id', 'read',      401, 401, 403, 404, 404, 200],
  ['POST',   '/v1/webhook-endpoints/:id/deliveries/:delivery_id/redeliver', 'webhooks:write', 401, 401, 403, 404, 404, 202],
  // Orders: the operator's account sells; of the owner's wallet each deed is signed.
  ['POST',   '/private/orders',                             'orders:write',    401, 401, 403, 403, 200, 403],
  ['GET',    '/private/orders/:id',                         'read',            401, 401, 403, 403, 200, 403],
  ['POST',   '/private/entitlements/check',                 'orders:write',    401, 401, 403, 403, 200, 403],
  ['POST',   '/private/orders/:id/refund',                  'orders:write',    401, 401, 403, 403, 200, 403],
  ['GET',    '/orders/:id',                                 'anyone',          402, 402, 402, 402, 402, 402],
  ['POST',   '/orders/:id/challenges',                      'anyone',          201, 201, 201, 201, 201, 201],
  ['POST',   '/orders/:id/claim',                           'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/orders/:id/unclaim',                         'anyone',          204, 204, 204, 204, 204, 204],
  ['POST',   '/orders/:id/pay',                             'anyone',          200, 401, 403, 402, 402, 200], // who is logged in pays
  ['POST',   '/orders/:id/refund',                          'anyone',          204, 204, 204, 204, 204, 204], // nothing went back
  ['POST',   '/orders/:id/paid',                            'anyone',          200, 200, 200, 200, 200, 200],
  // Signed: no credential of ours opens these. The owner is whoever has the signature or the callback token.
  ['POST',   '/v1/webhooks/omise',                          'signed',          401, 401, 401, 401, 401, 200],
  ['POST',   '/v1/executor/runs/:id/progress',              'signed',          401, 401, 401, 401, 401, 204],
  ['POST',   '/v1/executor/runs/:id/parts',                 'signed',          401, 401, 401, 401, 401, 204],
  ['POST',   '/v1/executor/runs/:id/complete',              'signed',          401, 401, 401, 401, 401, 204],
  ['POST',   '/v1/executor/runs/:id/fail',                  'signed',          401, 401, 401, 401, 401, 204],
  // Pages whose address is the secret.
  ['GET',    '/reset-password/:token',                      'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/reset-password/:token',                      'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/pay/:token',                                 'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/pay/:token/events',                          'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/lightning/:token',                           'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/lightning/:token/events',                    'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/checkout/:token',                            'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/checkout/:token/qr',                         'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/checkout/:token/events',                     'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/checkout/:token/pay',                        'anyone',          303, 303, 303, 303, 303, 303],
  ['GET',    '/checkout/:token/return',                     'anyone',          303, 303, 303, 303, 303, 303],
  // For everybody.
  ['GET',    '/.well-known/jwks.json',                      'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/.well-known/did.json',                       'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/openapi.json',                               'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/docs/errors',                                'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/docs',                                       'anyone',          301, 301, 301, 301, 301, 301],
  ['GET',    '/docs/',                                      'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/docs/js/scalar.js',                          'anyone',          200, 200, 200, 200, 200, 200],
];

// biome-ignore format: a table
export const internalRoutes: Row[] = [
  //                                                        opened by       nobody  bad  key other oper. owner
  ['GET',    '/v1/admin/accounts',                          'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/accounts/:id',                      'operator',        401, 401, 403, 403, 200, 200],
  ['PATCH',  '/v1/admin/accounts/:id',                      'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/accounts/:id/password-resets',      'operator',        401, 401, 403, 403, 201, 201],
  ['POST',   '/v1/admin/accounts/:id/grants',               'operator',        401, 401, 403, 403, 201, 201],
  ['POST',   '/v1/admin/accounts/:id/adjustments',          'operator',        401, 401, 403, 403, 201, 201],
  ['GET',    '/v1/admin/accounts/:id/balance',              'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/packages',                          'operator',        401, 401, 403, 403, 201, 201],
  ['GET',    '/v1/admin/packages',                          'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/packages/:id',                      'operator',        401, 401, 403, 403, 200, 200],
  ['PATCH',  '/v1/admin/packages/:id',                      'operator',        401, 401, 403, 403, 200, 200],
  ['PUT',    '/v1/admin/packages/:id/crypto-prices',        'operator',        401, 401, 403, 403, 200, 200],
  ['PUT',    '/v1/admin/packages/:id/lightning-price',      'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/payment-requests',                  'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/payment-requests/:id',              'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/purchases',                         'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/purchases/:id',                     'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/purchases/:id/converge',            'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/purchases/:id/resolve',             'operator',        401, 401, 403, 403, 409, 409], // it is not in review
  ['POST',   '/v1/admin/reconcile',                         'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/differences',                       'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/differences/resolve',               'operator',        401, 401, 403, 403, 404, 404], // there is none
  ['POST',   '/v1/admin/services',                          'operator',        401, 401, 403, 403, 201, 201],
  ['GET',    '/v1/admin/services',                          'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/services/:id',                      'operator',        401, 401, 403, 403, 200, 200],
  ['PATCH',  '/v1/admin/services/:id',                      'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/services/:id/signing-secrets',      'operator',        401, 401, 403, 403, 201, 201],
  ['POST',   '/v1/admin/services/:id/reprice-workflows',    'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/refunds',                           'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/refunds/:id',                       'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/refunds/:id/approve',               'operator',        401, 401, 403, 403, 409, 409], // it is over
  ['POST',   '/v1/admin/refunds/:id/reject',                'operator',        401, 401, 403, 403, 409, 409],
  ['POST',   '/v1/admin/refunds/:id/payouts',               'operator',        401, 401, 403, 403, 409, 409],
  ['GET',    '/v1/admin/runs/:id',                          'operator',        401, 401, 403, 403, 200, 200],
  ['GET',    '/v1/admin/audit',                             'operator',        401, 401, 403, 403, 200, 200],
  ['POST',   '/v1/admin/audit',                             'operator',        401, 401, 403, 403, 202, 202],
  ['POST',   '/v1/admin/audit/clear',                       'operator',        401, 401, 403, 403, 409, 409], // nothing is halted
  // Pages: a cookie of their own opens them, which the owner has; everybody else is shown the door.
  ['GET',    '/ops/login',                                  'anyone',          200, 200, 200, 200, 200, 200],
  ['POST',   '/ops/login',                                  'anyone',          303, 303, 303, 303, 303, 303],
  ['POST',   '/ops/logout',                                 'signed',          303, 303, 303, 303, 303, 303],
  ['GET',    '/ops',                                        'signed',          303, 303, 303, 303, 303, 200],
  ['GET',    '/ops/:panel/:id',                             'signed',          303, 303, 303, 303, 303, 200],
  ['GET',    '/ops/:panel/:id/:action',                     'signed',          303, 303, 303, 303, 303, 200],
  ['POST',   '/ops/:panel/:id/:action',                     'signed',          303, 303, 303, 303, 303, 303],
  // For the house: the network is the guard.
  ['GET',    '/livez',                                      'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/readyz',                                     'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/metrics',                                    'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/openapi.json',                               'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/docs/errors',                                'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/docs',                                       'anyone',          301, 301, 301, 301, 301, 301],
  ['GET',    '/docs/',                                      'anyone',          200, 200, 200, 200, 200, 200],
  ['GET',    '/docs/js/scalar.js',                          'anyone',          200, 200, 200, 200, 200, 200],
];

/** What a refusal says, by status and caller. */
export const codeOf = (status: number, caller: Caller, pattern: string): string | undefined => {
  if (pattern.startsWith('/v1/webhooks/') && status === 401) return 'invalid_webhook_signature';
  if (pattern.startsWith('/v1/executor/') && status === 401) return 'invalid_callback_token';
  if (['/v1/me/dids', '/v1/wallets'].includes(pattern) && status === 401 && ['other', 'operator'].includes(caller)) {
    return 'did_auth_failed';
  }
  if (status === 402) return pattern === '/orders/:id' ? undefined : 'insufficient_credits';
  if (status === 401) return caller === 'nobody' ? 'unauthenticated' : 'invalid_token';
  if (status === 403 && caller === 'key') return 'insufficient_scope';
  if (status === 403 && pattern === '/v1/payment-requests/:id/transactions') return 'not_payer';
  if (status === 403)
    return /^\/(v1\/(admin|payment-requests)|private)/.test(pattern) ? 'forbidden' : 'not_workflow_owner';
  if (status === 404) return 'not_found';
  if (status === 409) return 'conflict';
  return undefined;
};
