import { Agent as HttpAgent, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';

interface Outcome {
  status: number | null;
  error: string | null;
}

export interface Poster {
  /** Never rejects: what went wrong is the outcome. */
  post(uri: string, body: string, headers: Record<string, string>): Promise<Outcome>;
  close(): void;
}

/**
 * Agents of its own, so that close() leaves no socket, and so that a test which bends the global agents towards the
 * stand-in does not bend the deliveries too.
 */
export function createPoster(timeoutMs: number): Poster {
  const http = new HttpAgent({ keepAlive: false });
  const https = new HttpsAgent({ keepAlive: false });
  return {
    post(uri, body, headers) {
      const url = URL.parse(uri);
      if (url === null) return Promise.resolve({ status: null, error: 'invalid address' });
      const isPlain = url.protocol === 'http:';
      return exchange(isPlain ? requestHttp : requestHttps, body, {
        method: 'POST',
        host: url.hostname,
        port: url.port === '' ? (isPlain ? 80 : 443) : Number(url.port),
        path: url.pathname + url.search,
        agent: isPlain ? http : https,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'user-agent': 'Omise/2019-05-29',
          ...headers,
        },
      });
    },
    close() {
      http.destroy();
      https.destroy();
    },
  };
}

function exchange(request: typeof requestHttp, body: string, options: RequestOptions): Promise<Outcome> {
  return new Promise((resolve) => {
    const fail = (error: Error) => resolve({ status: null, error: nameOf(error) });
    const call = request(options, (response: IncomingMessage) => {
      response.resume();
      response.once('end', () => resolve({ status: response.statusCode ?? null, error: null }));
      response.once('error', fail);
    });
    call.once('error', fail);
    call.once('close', () => fail(new Error('closed'))); // after an answer this changes nothing
    call.end(body);
  });
}

function nameOf(error: Error & { code?: string }): string {
  return error.name === 'AbortError' || error.name === 'TimeoutError' ? 'timeout' : (error.code ?? error.message);
}
