import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import { type Article, articles as ours } from './articles.ts';
import { html, POLICY, pageOf } from './page.ts';
import { openPaywall, type RailPrice, type Shop } from './paywall.ts';

/** A shop that sells articles. The paywall is one line of it. */
export function buildShop(
  shop: Shop,
  { articles = ours, logger = true }: { articles?: Article[]; logger?: FastifyServerOptions['logger'] } = {},
): FastifyInstance {
  const app = Fastify({ logger: logger ?? true });
  const paywall = openPaywall(shop);
  const find = ({ params }: { params: unknown }) =>
    articles.find(({ slug }) => slug === (params as { slug: string }).slug);

  const pricesOf = ({ thb }: Partial<Article> = {}): RailPrice[] =>
    thb === undefined ? [] : [{ rail: 'omise', amount: thb, currency: 'THB' }];

  app.addHook('onSend', async (_request, reply) => {
    reply.header('Content-Security-Policy', POLICY).header('X-Content-Type-Options', 'nosniff');
    reply.header('Referrer-Policy', 'no-referrer'); // addresses of orders are nobody else's business
  });
  app.setNotFoundHandler((_request, reply) =>
    reply
      .code(404)
      .type('text/html; charset=utf-8')
      .send(pageOf('Not here', html`<h1>There is no such page</h1><p><a href="/">All articles</a></p>`)),
  );

  app.get('/', (_request, reply) => {
    const rows = articles.map(
      ({ slug, title, price }) =>
        html`<li><a href="/articles/${encodeURIComponent(slug)}">${title}</a> <span class="soft">${price} credits</span></li>`,
    );
    return reply.type('text/html; charset=utf-8').send(pageOf('Articles', html`<h1>Articles</h1><ul>${rows}</ul>`));
  });

  app.get(
    '/articles/:slug',
    {
      preHandler: paywall({
        resource: (request) => find(request)?.slug,
        price: (request) => find(request)?.price ?? 0,
        prices: (request) => pricesOf(find(request)),
        summary: (request) => find(request)?.title ?? '',
      }),
    },
    (request, reply) => {
      const article = find(request);
      if (!article) return reply.callNotFound();
      const paragraphs = article.text.map((text) => html`<p>${text}</p>`);
      return reply
        .type('text/html; charset=utf-8')
        .send(pageOf(article.title, html`<h1>${article.title}</h1>${paragraphs}<p><a href="/">All articles</a></p>`));
    },
  );
  return app;
}
