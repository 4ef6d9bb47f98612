// The status page of an order: waits for news by long poll, and offers what the browser's own wallet can do.
(() => {
  const live = /** @type {HTMLElement} */ (document.getElementById('live'));
  const WAIT_MS = 30_000;
  let tag = '';
  let isBusy = false;
  let isLeaving = false;

  /**
   * For good, and once: whoever sets out again while the next page is under way cancels that, and what it has used up.
   * @param {() => void} go
   */
  const leave = (go) => {
    if (isLeaving) return;
    isLeaving = true;
    go();
  };
  const reload = () => leave(() => location.reload());
  // Found by the way back, as it was left.
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload());

  /** News, once they have come; where the order leads, the server knows. */
  const look = async () => {
    const here = new URL(location.href);
    if (tag) here.searchParams.set('timeout_ms', String(WAIT_MS));
    const headers = { accept: 'application/json', ...(tag ? { 'if-none-match': tag } : {}) };
    const reply = await fetch(here, { headers });
    if (reply.status === 304 || isBusy || isLeaving) return;
    if (reply.status >= 500 || reply.status === 429) throw new Error(`HTTP ${reply.status}`);
    const isNews = tag !== '';
    tag = reply.headers.get('etag') ?? tag;
    const told = await reply.json();
    if (reply.status !== 402) return reload();
    // From the claim on the order has another address, which stays good when it is paid.
    if (told['order_status_url']) adopt(told['order_status_url']);
    if (told['already_paid_order_id']) return reload();
    if (isNews) await refresh();
  };

  /** @param {string} address */
  const adopt = (address) => {
    const { origin, href } = new URL(address);
    if (origin === location.origin && href !== location.href) history.replaceState(null, '', href);
  };

  const refresh = async () => {
    const reply = await fetch(location.href, { headers: { accept: 'text/html' }, redirect: 'manual' });
    const next = new DOMParser().parseFromString(await reply.text(), 'text/html').getElementById('live');
    if (!next) return reload();
    keepTyped(() => live.replaceChildren(...next.childNodes));
    Object.assign(live.dataset, next.dataset);
    await offer();
  };

  /** What a person has opened and typed is not taken from under their hands. @param {() => void} change */
  const keepTyped = (change) => {
    const typed = new Map([...live.querySelectorAll('input')].map(({ id, value }) => [id, value]));
    const isOpen = live.querySelector('details')?.open === true;
    const focused = document.activeElement?.id;
    change();
    for (const input of live.querySelectorAll('input')) input.value = typed.get(input.id) ?? '';
    for (const details of live.querySelectorAll('details')) details.open = isOpen;
    if (focused) document.getElementById(focused)?.focus();
  };

  const follow = async () => {
    for (let wait = 0; !isLeaving; ) {
      try {
        await look();
        wait = 0;
      } catch {
        wait = Math.min(15_000, wait * 2 || 1_000);
      }
      await new Promise((resolve) => setTimeout(resolve, wait || 250));
    }
  };

  /** @param {string} name @param {boolean} [isShown] */
  const part = (name, isShown = true) => {
    for (const one of live.querySelectorAll(`[data-part="${name}"]`)) one.toggleAttribute('hidden', !isShown);
  };

  const offerCopies = () => {
    if (!navigator.clipboard) return; // not on plain HTTP
    part('copy');
    for (const button of live.querySelectorAll('button'))
      if (button.dataset['copy'])
        button.onclick = async () => {
          await navigator.clipboard.writeText(button.dataset['copy'] ?? '');
          button.textContent = 'Copied';
        };
  };

  /** Shows what this browser can do with its own wallet. Without one the page stays as it was sent. */
  const offer = async () => {
    offerCopies();
    const box = live.querySelector('#wallet');
    if (!(box instanceof HTMLElement) || !(await wallet.isAble())) return;
    const { order = '', token, merchant = '', opens = '', amount = '', session = '' } = box.dataset;
    const shown = { orderId: order, token, merchant, opens, amount };
    const mine = await wallet.find(order);
    const isClaimed = live.dataset['state'] === 'to_pay';
    const paid = live.dataset['state'] === 'to_prove' ? mine : await wallet.findPaid(shown);
    bind(box, { shown, session: session || null, mine, paid });
    part('open', paid !== undefined);
    part('pay', paid === undefined && (isClaimed ? mine !== undefined : live.dataset['state'] === 'to_claim'));
    part('mine', isClaimed && mine !== undefined && paid === undefined);
    part('foreign', mine === undefined);
    part('with-wallet', paid === undefined);
    box.hidden = false;
  };

  /**
   * @param {HTMLElement} box
   * @param {{ shown: Offer, session: string | null, mine: Purchase | undefined, paid: Purchase | undefined }} known
   */
  const bind = (box, { shown, session, mine, paid }) => {
    /** @type {Record<string, (form: HTMLFormElement) => Promise<void>>} */
    const deeds = {
      open: async () => {
        if (paid && session) await wallet.prove(paid, session);
        reload();
      },
      money: async () => {
        const address = await wallet.payWithMoney(shown, session);
        leave(() => location.assign(address));
      },
      credits: async (form) => {
        const told = new FormData(form);
        const person = { email: String(told.get('email')), password: String(told.get('password')) };
        const { hContract = '' } = await wallet.payWithCredits(shown, session, person);
        turnTo({ h_contract: hContract, ...(session ? { session_id: session } : {}) });
        reload();
      },
      'give-up': async () => {
        if (!mine) return;
        await wallet.giveUp(mine);
        turnTo({ ...(mine.token ? { token: mine.token } : {}), ...(session ? { session_id: session } : {}) });
        await refresh();
      },
    };
    for (const form of box.querySelectorAll('form')) {
      form.onsubmit = (event) => {
        event.preventDefault();
        const act = deeds[form.dataset['deed'] ?? ''];
        if (act && !isBusy) void work(form, act);
      };
    }
  };

  /** Another address of the same order. @param {Record<string, string>} query */
  const turnTo = (query) => {
    history.replaceState(null, '', `${location.pathname}?${new URLSearchParams(query)}`);
    tag = '';
  };

  /** @param {HTMLFormElement} form @param {(form: HTMLFormElement) => Promise<void>} act */
  const work = async (form, act) => {
    isBusy = true;
    const button = /** @type {HTMLButtonElement} */ (form.querySelector('button'));
    const words = button.textContent;
    button.disabled = true;
    button.textContent = 'One moment…';
    tell('');
    try {
      await act(form);
    } catch (fault) {
      tell(wordsFor(fault));
      button.disabled = false;
      button.textContent = words;
    } finally {
      isBusy = false;
    }
  };

  /** @param {string} words */
  const tell = (words) => {
    const place = document.getElementById('fault');
    if (!place) return;
    place.hidden = words === '';
    const text = place.querySelector('span');
    if (text) text.textContent = words;
  };

  /** What happened, and what to do. @param {unknown} fault @returns {string} */
  const wordsFor = (fault) => {
    if (!(fault instanceof Refusal)) return 'There was no answer. Try again: nothing is ever paid twice.';
    if (fault.code === 'insufficient_credits')
      return `This account has ${fault.body['available']} credits, and ${fault.body['required']} are needed. Nothing was taken.`;
    if (fault.code === 'invalid_credentials') return 'E-mail address or password is wrong. Nothing was taken.';
    if (fault.code === 'order_claimed') return 'Another wallet has just taken this order. Nothing was taken from you.';
    if (fault.code === 'order_expired') return 'The time for this order is over. Nothing was taken.';
    if (fault.status === 429) return `Too many tries. Try again in ${fault.retryAfter ?? '60'} seconds.`;
    return `${fault.message} Nothing was taken.`;
  };

  void offer();
  void follow();
})();
