// The pages of purchases and payment requests: follows their events, and puts the new state in place.
(() => {
  const live = /** @type {HTMLElement} */ (document.getElementById('live'));
  const here = location.pathname;
  // As it was sent, not as it is by now: what the visitor has opened or typed is no news.
  let sent = live.innerHTML;

  let isLeaving = false;

  /** @param {HTMLElement} box */
  const isOver = (box) => box.dataset['over'] === 'true';

  const refresh = async () => {
    const reply = await fetch(here, { headers: { accept: 'text/html' } });
    if (!reply.ok || isLeaving) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), 'text/html').getElementById('live');
    if (!fresh || fresh.innerHTML === sent) return;
    const next = fresh.dataset['next'];
    if (next) {
      isLeaving = true; // once: setting out again would cancel what is under way
      return location.replace(next);
    }
    sent = fresh.innerHTML;
    live.replaceChildren(...fresh.childNodes);
    Object.assign(live.dataset, fresh.dataset);
  };

  if (isOver(live)) return;
  const events = new EventSource(`${here}/events`);
  const leave = () => {
    if (isOver(live)) events.close();
  };
  events.onmessage = () => refresh().then(leave, () => {});
  events.onerror = leave;
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && !isOver(live)) refresh().catch(() => {});
  });
})();
