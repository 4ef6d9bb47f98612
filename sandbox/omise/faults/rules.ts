/** How long a rule stays in force; with none of these it fires on every hit until it is cleared. */
interface Limits {
  /** Only the first so many hits. */
  times?: number;
  /** 0 to 1, drawn from the stand-in's seeded generator. */
  probability?: number;
  /** For so long by the stand-in's clock, so that `advanceClock` ends it too. */
  for_ms?: number;
}

interface ApiAim extends Limits {
  method?: string;
  /** An endpoint (`/charges/:id`) or a glob over the real path (`/charges/*`); every path when absent. */
  path?: string;
  /** Whether the request takes effect although its answer is spoiled; the default is at each fault. */
  executed?: boolean;
}

/** What happens to a request at the API. */
export type ApiFault = ApiAim &
  (
    | { api: 'latency'; ms: number; spread_ms?: number }
    /** No answer, not even headers, until the client leaves. Executed. */
    | { api: 'hang' }
    /** Headers and half of the body, then silence. Executed. */
    | { api: 'hang_in_body' }
    /** Headers and half of the body, then the connection ends. Executed. */
    | { api: 'cut_in_body' }
    /** "Created but not answered". */
    | { api: 'reset_after_execution' }
    | { api: 'reset_before_execution' }
    /** 429. Not executed. */
    | { api: 'rate_limited'; body?: boolean; retry_after_s?: number }
    /** JSON without `object: "error"`, which the npm client takes for success. Not executed. */
    | { api: 'server_error'; status?: 500 | 503 }
    /** A proxy's HTML page. Not executed. */
    | { api: 'bad_gateway' }
    /** 204. Executed. */
    | { api: 'no_content' }
    /** 200 with the JSON text `null`. Executed. */
    | { api: 'null_body' }
    /** The true answer, called `text/html`. Executed. */
    | { api: 'wrong_content_type' }
    /** 401 as for a revoked key. Not executed. */
    | { api: 'unauthorized' }
  );

interface WebhookAim extends Limits {
  /** A glob over event keys, for instance `charge.*`. */
  key?: string;
  /** Only events about this charge. */
  charge?: string;
  /** Send the spoiled delivery beside the intact one instead of in its place. */
  extra?: boolean;
}

/** What happens to a webhook delivery; the rules that match one event act on it one after the other. */
export type WebhookFault = WebhookAim &
  (
    | { webhook: 'drop' }
    /** So many deliveries in all; 2 when not said. */
    | { webhook: 'duplicate'; deliveries?: number }
    | { webhook: 'delay'; ms: number }
    /** Waits until a later event has been delivered. */
    | { webhook: 'reorder' }
    /** Delivered, and answered by its receiver, before the call that caused it is answered. */
    | { webhook: 'before_answer' }
    | { webhook: 'old_timestamp'; age_s?: number }
    | { webhook: 'corrupt_signature' }
    | { webhook: 'unsigned' }
    /** Another amount in the body, validly signed. */
    | { webhook: 'tampered_amount'; amount?: number }
    | { webhook: 'unknown_key'; sent_key?: string }
    | { webhook: 'huge_body'; bytes?: number }
    /** An event, validly signed, about a charge that this account does not have. */
    | { webhook: 'foreign_charge'; sent_charge?: string }
    | { webhook: 'livemode_flip' }
  );

export type FaultRule = ApiFault | WebhookFault;

export const API_FAULTS: readonly ApiFault['api'][] = [
  'latency',
  'hang',
  'hang_in_body',
  'cut_in_body',
  'reset_after_execution',
  'reset_before_execution',
  'rate_limited',
  'server_error',
  'bad_gateway',
  'no_content',
  'null_body',
  'wrong_content_type',
  'unauthorized',
];

export const WEBHOOK_FAULTS: readonly WebhookFault['webhook'][] = [
  'drop',
  'duplicate',
  'delay',
  'reorder',
  'before_answer',
  'old_timestamp',
  'corrupt_signature',
  'unsigned',
  'tampered_amount',
  'unknown_key',
  'huge_body',
  'foreign_charge',
  'livemode_flip',
];
