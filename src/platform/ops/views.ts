import { html, type Markup } from '../http/html.ts';
import { counted } from '../http/words.ts';
import type { Operator } from './door.ts';
import type { Action, Case, Entry, Figure, Panel } from './panel.ts';

/** The pages of the work list. Every word that came from elsewhere passes through `html`, which escapes it. */

export interface Listed {
  panel: Panel;
  entries: Entry[];
  total: number;
}

const at = ({ name }: Panel, id: string, action?: string) =>
  `/ops/${name}/${encodeURIComponent(id)}${action === undefined ? '' : `/${action}`}`;

export const logInPage = (csrf: string, complaint?: string): Markup => html`
  <h1>Work list</h1>
  <p class="soft">For operators of this installation.</p>
  ${complaint === undefined ? null : html`<p class="status bad" role="alert"><span><strong>Not logged in.</strong> ${complaint}</span></p>`}
  <form method="post" action="/ops/login">
    <input type="hidden" name="csrf" value="${csrf}">
    <label for="email">E-mail address</label>
    <input id="email" name="email" type="email" autocomplete="username" maxlength="254" required>
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024" required>
    <p></p>
    <button>Log in</button>
  </form>`;

export const listPage = (who: Operator, csrf: string, figures: Figure[], lists: Listed[]): Markup => {
  const waiting = lists.reduce((sum, { total }) => sum + total, 0);
  return html`
  ${bar(who, csrf)}
  <h1>${waiting === 0 ? 'Nothing waits for you' : `${counted(waiting, 'thing')} to look at`}</h1>
  <section aria-labelledby="day"><h2 id="day">The last 24 hours</h2><ul class="figures">${figures.map(figureOf)}</ul></section>
  ${lists.map(sectionOf)}`;
};

const bar = ({ email }: Operator, csrf: string) => html`
  <nav class="bar" aria-label="Session">
    <a href="/ops">Work list</a>
    <form method="post" action="/ops/logout"><span class="soft">${email}</span><input type="hidden" name="csrf" value="${csrf}"><button class="quiet">Log out</button></form>
  </nav>`;

const figureOf = (one: Figure) => html`
  <li><span class="soft">${one.label}</span><strong>${one.text}</strong>${one.note === undefined ? null : html`<span class="soft">${one.note}</span>`}${barsOf(one)}</li>`;

const BAR_STEP = 5;
const CHART_HEIGHT = 28;

/** The day in 24 bars, newest right. The numbers are in the text beside it; this is their shape. */
function barsOf({ label, hours }: Figure): Markup | null {
  if (hours === null) return null;
  const most = Math.max(...hours);
  const heightOf = (n: number) => (n === 0 ? 1 : Math.max(2, Math.round((n / most) * CHART_HEIGHT)));
  const ago = 23 - hours.lastIndexOf(most);
  const busiest = most === 0 ? 'nothing' : ago === 0 ? 'most in the last hour' : `most ${counted(ago, 'hour')} ago`;
  return html`<svg role="img" aria-label="${label} by hour: ${busiest}" viewBox="0 0 ${24 * BAR_STEP} ${CHART_HEIGHT}" preserveAspectRatio="none">${hours.map(
    (n, i) =>
      html`<rect class="${n === 0 ? 'none' : 'some'}" x="${i * BAR_STEP}" y="${CHART_HEIGHT - heightOf(n)}" width="${BAR_STEP - 1}" height="${heightOf(n)}"/>`,
  )}</svg>`;
}

const sectionOf = ({ panel, entries, total }: Listed) => html`
  <section aria-labelledby="${panel.name}">
    <h2 id="${panel.name}">${panel.title} <span class="soft">${total}</span></h2>
    ${total === 0 ? html`<p class="soft">None.</p>` : html`<p class="soft">${panel.hint}</p>${tableOf(panel, entries)}`}
    ${total > entries.length ? html`<p class="soft">The first ${entries.length} of ${total}; the others follow as these are dealt with.</p>` : null}
  </section>`;

const tableOf = (panel: Panel, entries: Entry[]) => html`
  <table>
    <thead><tr><th scope="col">Waits</th><th scope="col" class="number">Amount</th><th scope="col">What</th><th scope="col">Why</th><th scope="col"><span class="unseen">Decision</span></th></tr></thead>
    <tbody>${entries.map(
      ({ id, since, amount, what, why }) => html`
      <tr>
        <td data-label="Waits">${age(since)}</td>
        <td data-label="Amount" class="number">${amount}</td>
        <td data-label="What">${what}</td>
        <td data-label="Why">${why}</td>
        <td><a class="button" href="${at(panel, id)}" aria-label="${panel.button}: ${what}, ${amount}">${panel.button}</a></td>
      </tr>`,
    )}</tbody>
  </table>`;

/** In words, and exact on hover. */
function age(since: Date): Markup {
  const minutes = Math.max(0, Math.floor((Date.now() - since.getTime()) / 60_000));
  const words =
    minutes < 1
      ? 'just now'
      : minutes < 120
        ? counted(minutes, 'minute')
        : minutes < 48 * 60
          ? counted(Math.floor(minutes / 60), 'hour')
          : counted(Math.floor(minutes / 1440), 'day');
  return html`<time datetime="${since.toISOString()}" title="${since.toUTCString()}">${words}</time>`;
}

export const casePage = (who: Operator, csrf: string, panel: Panel, id: string, found: Case): Markup => html`
  ${bar(who, csrf)}
  <h1>${found.title}</h1>
  <p class="amount">${found.amount}</p>
  <p class="soft">${panel.title} · now <strong>${found.state}</strong></p>
  ${
    found.actions.length === 0
      ? html`<p class="status good"><span><strong>Nothing to decide.</strong> It is ${found.state}.</span></p>`
      : html`<div class="actions">${found.actions.map(
          ({ name, label, isRefusal }) =>
            html`<a class="button ${isRefusal ? 'quiet' : ''}" href="${at(panel, id, name)}">${label}</a>`,
        )}</div>`
  }
  ${factsOf(found)}
  ${found.steps.length === 0 ? null : html`<h2>What happened</h2><ol class="steps">${found.steps.map(stepOf)}</ol>`}
  <footer><a href="/ops">Back to the work list</a></footer>`;

const factsOf = ({ facts }: Case) =>
  html`<dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;

const stepOf = ({ at: moment, who, what, detail }: Case['steps'][number]) =>
  html`<li><time class="soft" datetime="${moment.toISOString()}">${moment.toISOString().replace('T', ' ').slice(0, 19)}</time> <strong>${what}</strong> <span class="soft">by ${who}</span>${detail === '' ? null : html`<br><span class="soft mono">${detail}</span>`}</li>`;

export const confirmPage = (
  who: Operator,
  csrf: string,
  { panel, id, found, action }: { panel: Panel; id: string; found: Case; action: Action },
): Markup => html`
  ${bar(who, csrf)}
  <h1>${action.label}: ${found.title}</h1>
  <p class="amount">${found.amount}</p>
  <p class="status wait"><span><strong>What this does.</strong> ${action.effect}</span></p>
  <form method="post" action="${at(panel, id, action.name)}">
    <input type="hidden" name="csrf" value="${csrf}">
    ${
      action.field === undefined
        ? null
        : html`<label for="value">${action.field.label}</label>
    <input id="value" name="value" required pattern="${action.field.pattern}" maxlength="${action.field.maxLength}" autocomplete="off" aria-describedby="value-hint">
    <p class="soft" id="value-hint">${action.field.hint}</p>`
    }
    <label for="reason">Reason</label>
    <input id="reason" name="reason" required maxlength="500" autocomplete="off" aria-describedby="reason-hint">
    <p class="soft" id="reason-hint">It stays in the audit log${action.isRefusal ? ', and the customer may see it' : ''}.</p>
    <button>${action.label}</button>
  </form>
  <p><a class="button quiet" href="${at(panel, id)}">Do nothing</a></p>
  ${factsOf(found)}`;
