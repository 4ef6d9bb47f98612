import { captureCharge, expireCharge, markAsFailed, markAsPaid, reverseCharge } from './charges/capture.ts';
import { createCharge } from './charges/create.ts';
import { listCharges, readCharge, readQrImage, updateCharge } from './charges/read.ts';
import { type Answer, imageAnswer, jsonAnswer } from './http/answers.ts';
import type { KeyKind } from './http/basic-auth.ts';
import type { Call, Route } from './http/router.ts';
import type { JsonObject } from './json.ts';
import { readAccount, readBalance, readCapability, updateAccount } from './objects/account.ts';
import { createCustomer, listCustomers, readCustomer, updateCustomer } from './objects/customers.ts';
import {
  listClosedDisputes,
  listDisputes,
  listOpenDisputes,
  listPendingDisputes,
  readDispute,
} from './objects/disputes.ts';
import { listEvents, readEvent } from './objects/events.ts';
import { createLink, deleteLink, listLinks, readLink } from './objects/links.ts';
import { createRefund, listRefunds, readRefund } from './objects/refunds.ts';
import { search } from './objects/search.ts';
import { createSource, readSource } from './objects/sources.ts';
import { createToken, readToken } from './objects/tokens.ts';
import { listTransactions, readTransaction } from './objects/transactions.ts';
import { inVersion } from './objects/versions.ts';
import { decideAuthorization, showAuthorization } from './pages/authorize-page.ts';
import { decidePayment, scan, showPayment } from './pages/pay-page.ts';

/** Everything that is answered on the public port. */
export const routes: readonly Route[] = [
  endpoint('public', 'POST', '/tokens', createToken),
  endpoint('public', 'GET', '/tokens/:id', readToken),
  endpoint('public', 'POST', '/sources', createSource),
  endpoint('public', 'GET', '/sources/:id', readSource),
  endpoint('public', 'GET', '/capability', readCapability),
  preflight('/tokens'),
  preflight('/sources'),
  preflight('/capability'),

  endpoint('secret', 'POST', '/charges', createCharge),
  endpoint('secret', 'GET', '/charges', listCharges),
  endpoint('secret', 'GET', '/charges/:id', readCharge),
  endpoint('secret', 'PATCH', '/charges/:id', updateCharge),
  endpoint('secret', 'POST', '/charges/:id/capture', captureCharge),
  endpoint('secret', 'POST', '/charges/:id/reverse', reverseCharge),
  endpoint('secret', 'POST', '/charges/:id/expire', expireCharge),
  endpoint('secret', 'POST', '/charges/:id/mark_as_paid', markAsPaid),
  endpoint('secret', 'POST', '/charges/:id/mark_as_failed', markAsFailed),
  endpoint('secret', 'POST', '/charges/:id/refunds', createRefund),
  endpoint('secret', 'GET', '/charges/:id/refunds', listRefunds),
  endpoint('secret', 'GET', '/charges/:id/refunds/:refund', readRefund),
  page('secret', 'GET', '/charges/:id/documents/:document/downloads/:download', async (call) =>
    imageAnswer(await readQrImage(call)),
  ),

  endpoint('secret', 'POST', '/customers', createCustomer),
  endpoint('secret', 'GET', '/customers', listCustomers),
  endpoint('secret', 'GET', '/customers/:id', readCustomer),
  endpoint('secret', 'PATCH', '/customers/:id', updateCustomer),
  endpoint('secret', 'POST', '/links', createLink),
  endpoint('secret', 'GET', '/links', listLinks),
  endpoint('secret', 'GET', '/links/:id', readLink),
  endpoint('secret', 'DELETE', '/links/:id', deleteLink),

  endpoint('secret', 'GET', '/disputes', listDisputes),
  endpoint('secret', 'GET', '/disputes/open', listOpenDisputes),
  endpoint('secret', 'GET', '/disputes/pending', listPendingDisputes),
  endpoint('secret', 'GET', '/disputes/closed', listClosedDisputes),
  endpoint('secret', 'GET', '/disputes/:id', readDispute),
  endpoint('secret', 'GET', '/events', listEvents),
  endpoint('secret', 'GET', '/events/:id', readEvent),
  endpoint('secret', 'GET', '/transactions', listTransactions),
  endpoint('secret', 'GET', '/transactions/:id', readTransaction),
  endpoint('secret', 'GET', '/search', search),
  endpoint('secret', 'GET', '/account', readAccount),
  endpoint('secret', 'PATCH', '/account', updateAccount),
  endpoint('secret', 'GET', '/balance', readBalance),

  page('none', 'GET', '/payments/:id/authorize', showAuthorization),
  page('none', 'POST', '/payments/:id/authorize', decideAuthorization),
  page('none', 'GET', '/pay', scan),
  page('none', 'GET', '/pay/:id', showPayment),
  page('none', 'POST', '/pay/:id', decidePayment),
];

function endpoint(key: KeyKind, method: string, path: string, body: (call: Call) => JsonObject): Route {
  return page(key, method, path, (call) => jsonAnswer(200, inVersion(call.version, body(call))));
}

function page(key: KeyKind, method: string, path: string, answer: (call: Call) => Answer | Promise<Answer>): Route {
  return { key, method, path, answer };
}

/** A browser asks first, because of the Authorization header. */
function preflight(path: string): Route {
  const headers = {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, POST',
    'access-control-allow-headers': 'authorization, content-type, omise-version',
  };
  return page('none', 'OPTIONS', path, () => ({ status: 204, type: 'text/plain', body: '', headers }));
}
