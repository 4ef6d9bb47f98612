import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Db } from '../database/clients.ts';
import { page } from '../http/html.ts';
import { check } from '../http/limits.ts';
import { pages } from '../http/pages.ts';
import { invalidField, Problem } from '../http/problem.ts';
import type { App } from '../http/server.ts';
import { answers, line } from '../http/wire.ts';
import type { Vault } from '../secrets.ts';
import {
  type Door,
  dropToken,
  formToken,
  freshToken,
  keepToken,
  type Operator,
  requireOwnForm,
  tokenIn,
} from './door.ts';
import type { Action, Case, Figures, Panel } from './panel.ts';
import { casePage, confirmPage, listPage, logInPage } from './views.ts';

export interface OpsDeps {
  db: Db;
  vault: Vault;
  door: Door;
  panels: Panel[];
  figures: Figures[];
  loginsPerMinute: number;
}

const SHOWN = 20;
const REFRESH_S = 60;
const csrf = z.string().max(100);
const params = z.strictObject({ panel: z.string().max(40), id: z.string().min(1).max(200) });
const ANY = answers({ 200: z.string() });
const HIDDEN = { hide: true } as const;

/** Who is looking: their session's token for forms, and themselves. */
interface Visit {
  who: Operator;
  csrf: string;
}

/**
 * The operators' work list. Internal listener only; its session is a cookie of its own, which opens nothing else. What
 * is decided here is decided by the same functions as over the API, and leaves the same trail.
 */
export async function opsPages(app: App, deps: OpsDeps): Promise<void> {
  const key = deps.vault.derive('ops-forms');
  const visitOf = async (request: FastifyRequest, reply: FastifyReply): Promise<Visit | undefined> => {
    const token = tokenIn(request);
    const who = token && (await deps.door.whoHas(token));
    if (token && who) return { who, csrf: formToken(key, token) };
    reply.redirect('/ops/login', 303);
    return undefined;
  };
  await pages(app, (inner) => {
    sessionPages(inner, deps, key);
    lookPages(inner, deps, visitOf);
    decidePages(inner, deps, key, visitOf);
  });
}

type VisitOf = (request: FastifyRequest, reply: FastifyReply) => Promise<Visit | undefined>;

function sessionPages(app: App, { door, loginsPerMinute }: OpsDeps, key: Buffer): void {
  const perEmail = check(app as never, 'ops-login', loginsPerMinute, (request) =>
    (request.body as { email: string }).email.toLowerCase(),
  );
  const logInWith = (request: FastifyRequest, reply: FastifyReply, complaint?: string, status = 200) => {
    const token = tokenIn(request) ?? freshToken();
    keepToken(request, reply, token);
    return page(reply, { title: 'Log in – Farebox', body: logInPage(formToken(key, token), complaint), status });
  };

  app.get(
    '/ops/login',
    { config: { access: 'anyone', rate: 'read' }, schema: { ...HIDDEN, response: ANY } },
    async (request, reply) => logInWith(request, reply),
  );

  app.post(
    '/ops/login',
    {
      config: { access: 'signed', rate: 'auth', idempotency: 'none' },
      preHandler: perEmail,
      schema: {
        ...HIDDEN,
        body: z.object({ csrf, email: z.string().max(254), password: z.string().max(1024) }),
        response: ANY,
      },
    },
    async (request, reply) => {
      const { email, password } = request.body;
      requireOwnForm(key, request, request.body.csrf);
      try {
        keepToken(request, reply, await door.logIn(email, password, request.id));
      } catch (fault) {
        if (fault instanceof Problem) return logInWith(request, reply, fault.detail, fault.status);
        throw fault;
      }
      return reply.redirect('/ops', 303);
    },
  );

  app.post(
    '/ops/logout',
    {
      config: { access: 'signed', rate: 'auth', idempotency: 'none' },
      schema: { ...HIDDEN, body: z.object({ csrf }), response: ANY },
    },
    async (request, reply) => {
      await door.logOut(requireOwnForm(key, request, request.body.csrf));
      dropToken(reply);
      return reply.redirect('/ops/login', 303);
    },
  );
}

function lookPages(app: App, { panels, figures }: OpsDeps, visitOf: VisitOf): void {
  app.get(
    '/ops',
    { config: { access: 'signed', rate: 'read' }, schema: { ...HIDDEN, response: ANY } },
    async (request, reply) => {
      const visit = await visitOf(request, reply);
      if (!visit) return reply;
      const [lists, day] = await Promise.all([
        Promise.all(panels.map(async (panel) => ({ panel, ...(await panel.list(SHOWN)) }))),
        Promise.all(figures.map((count) => count())),
      ]);
      const body = listPage(visit.who, visit.csrf, day.flat(), lists);
      return page(reply, { title: 'Work list – Farebox', body, refreshS: REFRESH_S, isWide: true });
    },
  );

  app.get(
    '/ops/:panel/:id',
    { config: { access: 'signed', rate: 'read' }, schema: { ...HIDDEN, params, response: ANY } },
    async (request, reply) => {
      const visit = await visitOf(request, reply);
      if (!visit) return reply;
      const { panel, id, found } = await caseOf(panels, request.params);
      return page(reply, {
        title: `${found.title} – Farebox`,
        body: casePage(visit.who, visit.csrf, panel, id, found),
        isWide: true,
      });
    },
  );
}

async function caseOf(
  panels: Panel[],
  { panel: name, id }: z.infer<typeof params>,
): Promise<{ panel: Panel; id: string; found: Case }> {
  const panel = panels.find((one) => one.name === name);
  const found = await panel?.find(id);
  if (!panel || !found) throw new Problem('not_found', 'There is no such thing in the work list.');
  return { panel, id, found };
}

function decidePages(app: App, { db, panels }: OpsDeps, key: Buffer, visitOf: VisitOf): void {
  const withAction = params.extend({ action: z.string().max(40) });
  const actionOf = async (asked: z.infer<typeof withAction>) => {
    const known = await caseOf(panels, asked);
    const action = known.found.actions.find(({ name }) => name === asked.action);
    if (!action) throw new Problem('conflict', `It is ${known.found.state}: there is nothing to decide any more.`);
    return { ...known, action };
  };

  app.get(
    '/ops/:panel/:id/:action',
    { config: { access: 'signed', rate: 'read' }, schema: { ...HIDDEN, params: withAction, response: ANY } },
    async (request, reply) => {
      const visit = await visitOf(request, reply);
      if (!visit) return reply;
      const asked = await actionOf(request.params);
      const title = `${asked.action.label} – Farebox`;
      return page(reply, { title, body: confirmPage(visit.who, visit.csrf, asked), isWide: true });
    },
  );

  app.post(
    '/ops/:panel/:id/:action',
    {
      config: { access: 'signed', rate: 'money', idempotency: 'accepted' }, // a repeat finds it decided
      schema: {
        ...HIDDEN,
        params: withAction,
        body: z.object({ csrf, reason: line(500), value: z.string().max(200).default('') }),
        response: ANY,
      },
    },
    async (request, reply) => {
      const visit = await visitOf(request, reply);
      if (!visit) return reply;
      requireOwnForm(key, request, request.body.csrf);
      const { panel, id, action } = await actionOf(request.params);
      const { reason } = request.body;
      const by = { operatorId: visit.who.accountId, requestId: request.id, reason };
      await db.transaction((tx) => action.run(tx, { ...by, value: valueFor(action, request.body.value) }));
      await action.after?.();
      return reply.redirect(`/ops/${panel.name}/${encodeURIComponent(id)}`, 303);
    },
  );
}

function valueFor({ field }: Action, told: string): string {
  if (!field) return '';
  const value = told.trim();
  const fits = value.length <= field.maxLength && new RegExp(`^(?:${field.pattern})$`, 'u').test(value);
  if (!fits) throw invalidField('/value', `${field.label}: ${field.hint}`);
  return value;
}
