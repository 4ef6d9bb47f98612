/** Keeps "14 minutes left" true. It never says that a charge is dead: only the provider can. */
const countDown = () => {
  for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll('[data-left]'))) {
    const minutes = Math.max(0, Math.round((new Date(time.dateTime).getTime() - Date.now()) / 60_000));
    if (minutes > 0 && minutes < 120) time.textContent = minutes === 1 ? '1 minute left' : `${minutes} minutes left`;
    if (minutes === 0) time.textContent = 'The time for this payment is running out.';
  }
};
setInterval(countDown, 15_000);
