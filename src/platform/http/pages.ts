import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { problemOf } from './failures.ts';
import { html, page } from './html.ts';
import { Problem } from './problem.ts';
import type { App } from './server.ts';

/** A part of a server whose routes answer people: forms come in, and refusals are pages, too. */
export async function pages(app: App, routes: (inner: App) => void): Promise<void> {
  await app.register(async (inner) => {
    acceptForms(inner as unknown as FastifyInstance);
    inner.setErrorHandler((fault, request, reply) => {
      const problem = problemOf(fault, request);
      if (!problem)
        request.log.error({ err: fault, request_id: request.id, route: request.routeOptions.url }, 'request failed');
      return tellPerson(problem ?? new Problem('internal_error'), request, reply);
    });
    routes(inner as App);
  });
}

const FORM_LIMIT = 4 * 1024;

/** `application/x-www-form-urlencoded`, flat; a name that comes twice keeps its first value. */
function acceptForms(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: FORM_LIMIT },
    (_request, text, done) => {
      const fields = [...new URLSearchParams(String(text))].reverse();
      done(null, Object.fromEntries(fields));
    },
  );
}

const headlines: Record<number, string> = {
  403: 'Not from here',
  404: 'This link leads nowhere',
  409: 'It has changed meanwhile',
  410: 'This link is no longer valid',
  422: 'That did not work',
  429: 'A moment, please',
  500: 'Something went wrong on our side',
  503: 'Not possible at the moment',
};

function tellPerson(problem: Problem, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const title = headlines[problem.status] ?? 'That did not work';
  const retry =
    problem.status === 404 || problem.status === 410 ? null : html`<p><a class="button" href="">Try again</a></p>`;
  const body = html`
    <h1>${title}</h1>
    <p>${problem.errors[0] ? `${problem.errors[0].detail[0]?.toUpperCase()}${problem.errors[0].detail.slice(1)}.` : problem.detail}</p>
    ${retry}
    <footer>Request <span class="mono">${request.id}</span></footer>`;
  return page(reply.headers(problem.headers), { title, body, status: problem.status });
}
