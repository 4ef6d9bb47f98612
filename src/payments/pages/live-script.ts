/**
 * The script of the pages of purchases and payment requests: follows their events and puts the new state in place. Plain JavaScript, sent as
 * it stands and allowed by its hash; without it the page refreshes itself.
 */
export const liveScript = `
'use strict';
const live = document.getElementById('live');
const here = location.pathname;
// As it was sent, not as it is by now: what the visitor has opened or typed is no news.
let sent = live.innerHTML;
const over = () => live.dataset.over === 'true';
async function refresh() {
  const reply = await fetch(here, { headers: { accept: 'text/html' } });
  if (!reply.ok) return;
  const fresh = new DOMParser().parseFromString(await reply.text(), 'text/html').getElementById('live');
  if (!fresh || fresh.innerHTML === sent) return;
  sent = fresh.innerHTML;
  live.replaceChildren(...fresh.childNodes);
  live.dataset.state = fresh.dataset.state;
  live.dataset.over = fresh.dataset.over;
}
function follow() {
  const events = new EventSource(here + '/events');
  events.onmessage = () => refresh().then(() => { if (over()) events.close(); }, () => {});
  events.onerror = () => { if (over()) events.close(); };
}
function tick() {
  for (const time of document.querySelectorAll('[data-left]')) {
    const minutes = Math.max(0, Math.round((new Date(time.dateTime) - Date.now()) / 60000));
    if (minutes > 0 && minutes < 120) time.textContent = minutes === 1 ? '1 minute left' : minutes + ' minutes left';
    if (minutes === 0) time.textContent = 'The time for this payment is running out.';
  }
}
if (!over()) {
  follow();
  setInterval(tick, 15000);
  document.addEventListener('visibilitychange', () => { if (!document.hidden && !over()) refresh().catch(() => {}); });
}
`;
