/**
 * Every error code that Farebox can answer: the closed list. `docs/errors.md` is generated from it, and a test fails
 * when a code is unused or a reply carries one that is not here.
 */
export const codes = {
  // 400: the request cannot be read
  malformed_request: [400, 'The request could not be read', 'Send well-formed HTTP and JSON.'],
  invalid_id: [400, 'An id has the wrong form', 'Use the id as it was given to you; its prefix tells what it names.'],
  invalid_cursor: [400, 'The cursor is not one of ours', 'Use `next_cursor` of the previous page, unchanged.'],
  idempotency_key_required: [
    400,
    'An Idempotency-Key header is required',
    'Send a key of your own, one for each thing you want done.',
  ],
  idempotency_key_invalid: [400, 'The Idempotency-Key is not usable', 'Send 1 to 255 visible characters.'],
  did_invalid: [400, 'That is no DID', 'Send a did:key, or a did:pkh:eip155 with its chain and address.'],
  did_method_unsupported: [
    400,
    'DIDs of this method are not accepted',
    'Use did:key, or did:pkh:eip155 for an Ethereum wallet.',
  ],
  did_key_type_unsupported: [400, 'Keys of this type are not accepted', 'Use Ed25519, secp256k1 or P-256.'],
  did_noncanonical: [
    400,
    'The DID is not in its canonical spelling',
    'Send the bare DID: base58btc, and the key in its short form.',
  ],
  // 401: who is asking?
  unauthenticated: [
    401,
    'Authentication is required',
    'Send `Authorization: Bearer` with an access token or an API key.',
  ],
  invalid_token: [401, 'The access token is not valid', 'Log in again, or refresh the token.'],
  invalid_api_key: [401, 'The API key is not valid', 'Check that the key is complete, not expired and not revoked.'],
  invalid_credentials: [401, 'E-mail or password is wrong', 'Check both. Which one is wrong is not told.'],
  invalid_refresh_token: [
    401,
    'The refresh token is not valid',
    'Log in again. A token that was used twice ends its whole session.',
  ],
  did_auth_failed: [
    401,
    'The proof is not accepted',
    'Ask for a new challenge and sign it exactly as it is given. What is wrong is not told.',
  ],
  challenge_expired: [401, 'The challenge is too old', 'Ask for a new one and sign that.'],
  invalid_callback_token: [
    401,
    'The callback token is not valid',
    'Use the `callback_token` of the latest attempt of this run.',
  ],
  invalid_webhook_signature: [
    401,
    'The webhook signature is not valid',
    'Sign timestamp, dot and raw body with the shared secret.',
  ],
  // 402: pay first
  insufficient_credits: [
    402,
    'Not enough credits',
    'Buy one of the packages in `pay_with`, then repeat the request with the same Idempotency-Key.',
  ],
  payment_required: [
    402,
    'The run has to be paid first',
    'Pay the ask in one of the ways in `pay_with`; or repeat the request with the same Idempotency-Key once there are enough credits.',
  ],
  price_above_max: [
    402,
    'The run costs more than you want to pay',
    'Read `amount`, and raise `max_price` if you agree.',
  ],
  credit_limit_reached: [
    402,
    'Earlier runs are still to be paid',
    'Pay the ask that `ask_id` names, or wait until the runs under way are done and pay those.',
  ],
  order_not_paid: [
    402,
    'The order is not paid',
    'Pay it first; then prove the payment for as many sessions as it allows.',
  ],
  // 403: known, but not allowed
  insufficient_scope: [403, 'The API key lacks a scope', 'Use a key that has the scope named in `required_scope`.'],
  forbidden: [403, 'Not allowed for this account', 'Use an account with the right role.'],
  account_disabled: [403, 'The account is disabled', 'Ask the operator.'],
  login_too_old: [403, 'This needs a recent log-in', 'Log in again, then repeat the request.'],
  not_workflow_owner: [403, 'The workflow belongs to another account', 'Use a workflow of your own.'],
  not_payer: [403, 'Another DID was asked to pay', 'Sign in with the DID that the payment request names.'],
  // 404
  route_not_found: [404, 'There is no such address', 'See /docs for the addresses.'],
  not_found: [404, 'There is no such object', 'Check the id. Objects of other accounts look the same as none.'],
  workflow_not_found: [404, 'There is no such workflow', 'Check the id; a deleted workflow cannot be run.'],
  // 405 – 415
  method_not_allowed: [405, 'The address does not know this method', 'See the `Allow` header.'],
  request_timeout: [408, 'The request took too long to arrive', 'Send it again.'],
  conflict: [409, 'The object is not in a state that allows this', 'Read the object again and decide anew.'],
  request_in_flight: [
    409,
    'The same request is being worked on',
    'Wait as `Retry-After` says, then repeat it with the same key.',
  ],
  email_taken: [409, 'The e-mail address has an account', 'Log in instead.'],
  did_in_use: [
    409,
    'The DID opens another account',
    'Sign in with it. To free it, link another DID there and remove this one.',
  ],
  last_way_in: [409, 'Nothing else opens this account', 'Link another DID first, then remove this one.'],
  price_changed: [409, 'The cost is not what you expected', 'Read the workflow, and accept its cost or the new price.'],
  service_inactive: [409, 'The service is not offered at present', 'Choose another service, or ask the operator.'],
  order_claimed: [409, 'Another wallet has taken the order', 'Give it up with that wallet, or start a new order.'],
  order_exists: [409, 'There is another order of this name', 'Use a new `order_id` for a new order.'],
  too_many_pending: [409, 'Too many unpaid purchases are open', 'Pay or cancel one first.'],
  too_many_unpaid: [409, 'Too many runs wait for their payment', 'Pay or cancel one first.'],
  not_refundable: [409, 'There is nothing to give back', 'See `detail`: nothing is left of it, or it was never paid.'],
  refund_limit_reached: [
    409,
    'Not so much is given back at once',
    'Ask for less, or another day, or ask the operator.',
  ],
  run_finished: [409, 'The run has ended', 'Nothing more can be reported on it or done to it.'],
  attempt_superseded: [409, 'A newer attempt of this run exists', 'Stop working on this attempt; its token is void.'],
  run_paused: [
    409,
    'The run waits for the payment of its next part',
    'Stop working on this attempt; the run is dispatched again once it is paid.',
  ],
  part_conflict: [409, 'This part was reported with other content', 'Give each part its own number.'],
  payment_request_expired: [410, 'The payment request was not paid in time', 'Ask the merchant for a new one.'],
  order_expired: [410, 'The order was not paid in time', 'Start a new one at the shop.'],
  ask_expired: [410, 'The price was not paid in time', 'Start a new run, with a new Idempotency-Key.'],
  link_expired: [410, 'The link is no longer valid', 'Ask for a new one.'],
  body_too_large: [413, 'The body is too large', 'Stay under the limit of the route.'],
  uri_too_long: [414, 'The address is too long', 'Shorten it.'],
  unsupported_media_type: [
    415,
    'The content type is not supported',
    'Send `Content-Type: application/json` in UTF-8, without content encoding.',
  ],
  // 422: readable, but not acceptable
  validation_failed: [
    422,
    'Some fields are not acceptable',
    'See `errors`: each entry points to a field and says what it must be.',
  ],
  idempotency_key_reused: [422, 'The Idempotency-Key was used for another request', 'Use a new key for a new request.'],
  card_number_refused: [
    422,
    'Card numbers are not accepted',
    'Make a token of the card in the browser and send the token.',
  ],
  password_too_common: [422, 'The password is a common one', 'Choose another one.'],
  package_unavailable: [422, 'The package cannot be bought', 'Choose one of `GET /v1/packages`.'],
  asset_unsupported: [422, 'The asset is not taken here', 'Use an asset that the installation is configured for.'],
  amount_invalid: [422, 'The amount is not usable', 'Send a positive whole number of base units, as a string.'],
  refund_too_large: [422, 'So much cannot be given back', 'Ask for `refundable` at most.'],
  refund_target_unavailable: [422, 'It cannot be given back that way', 'Use the other `target`.'],
  did_required: [422, 'The account needs a DID for this', 'Link the DID that will pay: `POST /v1/me/dids`.'],
  payment_mode_unavailable: [
    422,
    'The service is not paid like that',
    'Leave `payment` out, or see `payment.mode` of the service.',
  ],
  method_unavailable: [422, 'The payment method is not available', 'Choose one of the methods that the package lists.'],
  return_uri_refused: [
    422,
    'The return address is not allowed',
    'Use an address on an origin that the operator has listed.',
  ],
  input_invalid: [422, 'The input does not fit the service', 'See `errors` and the input schema of the service.'],
  endpoint_refused: [
    422,
    'The address may not be called',
    'Use a public https address, or have the operator allow the private one.',
  ],
  // 429, 431
  rate_limited: [429, 'Too many requests', 'Wait as `Retry-After` says.'],
  headers_too_large: [431, 'The headers are too large', 'Send less in the headers.'],
  // 5xx
  internal_error: [
    500,
    'Something went wrong on our side',
    'Nothing was charged twice. Repeat with the same Idempotency-Key, and tell us the request id.',
  ],
  provider_unavailable: [
    503,
    'The payment provider cannot be reached',
    'Repeat with the same Idempotency-Key after `Retry-After`.',
  ],
  audit_halt: [
    503,
    'New payments and runs are stopped',
    'The operator is looking into the books. Repeat with the same Idempotency-Key after `Retry-After`.',
  ],
  refunds_off: [
    503,
    'Nothing is given back at the moment',
    'The operator has stopped refunds. Repeat with the same Idempotency-Key after `Retry-After`.',
  ],
  chain_unavailable: [503, 'The chain cannot be asked at the moment', 'Repeat the request after `Retry-After`.'],
  overloaded: [503, 'The service is busy', 'Repeat with the same Idempotency-Key after `Retry-After`.'],
  database_unavailable: [
    503,
    'The service is not available for a moment',
    'Repeat with the same Idempotency-Key after `Retry-After`.',
  ],
  shutting_down: [503, 'The service is restarting', 'Repeat with the same Idempotency-Key after `Retry-After`.'],
} as const satisfies Record<string, readonly [status: number, title: string, remedy: string]>;

export type Code = keyof typeof codes;
