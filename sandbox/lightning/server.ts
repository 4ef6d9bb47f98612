import type { IncomingMessage } from 'node:http';
import { type Answer, jsonAnswer, send } from '../omise/http/answers.ts';
import { parseBody, readBody } from '../omise/http/body.ts';
import { listen } from '../omise/http/listener.ts';
import { html } from '../omise/pages/html.ts';
import { createZapProvider, lnurlOf, type ZapProvider } from './provider.ts';
import type { StandInWallet } from './wallet.ts';

/** The Lightning side of the sandbox in a browser: somebody's wallet that pays whatever is asked, and our address for zaps. */

export interface LightningServer {
  port: number;
  url: string;
  /** Our own LNURL, in bech32. */
  lnurl: string;
  provider: ZapProvider;
  close(): Promise<void>;
}

export interface LightningServerOptions {
  port?: number;
  wallet: StandInWallet;
  relayUrl: string;
  providerSecret?: string;
}

const ADDRESS = '/.well-known/lnurlp/farebox';
const CALLBACK = '/lnurlp/farebox/callback';

export async function startLightning(options: LightningServerOptions): Promise<LightningServer> {
  const { wallet, relayUrl, providerSecret } = options;
  const provider = createZapProvider({ relayUrl, ...(providerSecret ? { secret: providerSecret } : {}) });
  const pay = async (invoice: string) => (await wallet.control.pay(invoice)) || provider.pay(invoice);

  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const { pathname, searchParams } = new URL(request.url ?? '/', url);
    switch (`${request.method} ${pathname}`) {
      case `GET ${ADDRESS}`:
        return jsonAnswer(200, payRequest(url, provider.publicKey));
      case `GET ${CALLBACK}`:
        return jsonAnswer(200, provider.invoice(searchParams) as never);
      case 'GET /pay':
        return page(200, form(searchParams.get('invoice') ?? ''));
      case 'POST /pay': {
        const { invoice } = parseBody(request.headers['content-type'], await readBody(request));
        const isPaid = await pay(String(invoice ?? '').trim());
        if (request.headers['content-type']?.startsWith('application/json')) return jsonAnswer(200, { paid: isPaid });
        return page(
          200,
          html`<p>${isPaid ? 'Paid. Go back to where the invoice came from.' : 'This is no open invoice of the sandbox.'}</p>${form('')}`,
        );
      }
      default:
        return page(404, html`<p><a href="/pay">Pay an invoice</a></p>`);
    }
  };

  const listener = await listen({ host: '127.0.0.1', port: options.port ?? 0 }, (request, response) => {
    answer(request)
      .then((reply) => send(response, reply))
      .catch(() => response.destroy());
  });
  const url = `http://127.0.0.1:${listener.port}`;
  return { port: listener.port, url, lnurl: lnurlOf(`${url}${ADDRESS}`), provider, close: listener.close };
}

/** LUD-06, with what NIP-57 adds. */
const payRequest = (url: string, nostrPubkey: string) => ({
  ...{ tag: 'payRequest', callback: `${url}${CALLBACK}`, minSendable: 1_000, maxSendable: 100_000_000_000 },
  ...{ metadata: '[["text/plain","Farebox sandbox"]]', allowsNostr: true, nostrPubkey },
});

const form = (invoice: string) => html`
  <form method="post" action="/pay">
    <label for="invoice">Invoice</label>
    <textarea id="invoice" name="invoice" rows="6" required spellcheck="false">${invoice}</textarea>
    <button>Pay</button>
  </form>`;

function page(status: number, content: ReturnType<typeof html>): Answer {
  const { text } = html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Sandbox wallet</title></head>
<body><h1>Sandbox wallet</h1>${content}<p>No real money moves.</p></body>
</html>`;
  return { status, type: 'text/html; charset=utf-8', body: text, headers: { 'cache-control': 'no-store' } };
}
