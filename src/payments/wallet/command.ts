import { type Command, InvalidArgumentError, Option } from 'commander';
import { whereToPay } from './elsewhere.ts';
import { notDone, WalletFault } from './fault.ts';
import { readKey } from './keys.ts';
import { type Payer, pay } from './pay.ts';
import { type Place, readPlace } from './place.ts';
import { RAILS } from './price.ts';
import { prove } from './prove.ts';
import { openPurse } from './purse.ts';
import { tellRefund } from './refund.ts';
import { bold, columns, openTerminal, shown, type Terminal } from './terminal.ts';
import type { Told, Wallet } from './wallet.ts';

interface Options extends Omit<Payer, 'waitS'> {
  /** Seconds; false: not at all. */
  wait?: number | boolean;
  home?: string;
  key?: string;
  host?: string;
  yes?: boolean;
  json?: boolean;
}

const WAIT_S = 900; // a person with a telephone, and a chain with its blocks
const MAX_WAIT_S = 86_400;

const seconds = (text: string): number => {
  const n = Number(text);
  if (!/^\d{1,5}$/.test(text) || n < 1 || n > MAX_WAIT_S)
    throw new InvalidArgumentError(`must be 1 to ${MAX_WAIT_S} seconds`);
  return n;
};

type Work = (wallet: Wallet, place: Place, options: Options) => Promise<Told>;

/**
 * `wallet pay|prove|refund URI`: a wallet for orders, which keeps its keys here. Needs no installation. Exit code 0 when it is
 * done, 1 when somebody has said no, 2 when it could not be done.
 */
export function walletCommand(program: Command): void {
  const wallet = program.command('wallet').description('pay the orders of shops, and show browsers that you have paid');
  const add = (name: string, description: string) =>
    wallet
      .command(`${name} <uri>`)
      .description(description)
      .option('--home <dir>', 'where keys and purchases are kept (else under XDG_DATA_HOME)')
      .option('--key <file>', 'an Ed25519 key in PEM, instead of a fresh one for each order')
      .option('--host <host>', 'refuse the address of any other host')
      .option('--yes', 'ask nothing')
      .option('--json', 'for machines');

  add('pay', 'take an order and pay it; never twice')
    .addOption(
      new Option('--rail <rail>', 'with credits, or by a payment that is opened for it')
        .choices(RAILS)
        .default('credits'),
    )
    .option('--wait <seconds>', 'so long it waits for such a payment', seconds, WAIT_S)
    .option('--no-wait', 'say where to pay, and end')
    .option('--token <token>', 'access token of the account that pays')
    .option('--login <e-mail>', 'the account that pays; its password is read from standard input')
    .action((uri: string, options: Options) => run(uri, options, (own, place) => payOnce(own, place, options)));
  add('prove', 'show for the browser of the address that it is paid').action((uri: string, options: Options) =>
    run(uri, options, prove),
  );
  add('refund', 'tell what of an order has gone back, and ask back what came too late').action(
    (uri: string, options: Options) => run(uri, options, tellRefund),
  );
}

/** A password or token goes only where a person has looked, or to a host that was named. */
function payOnce(wallet: Wallet, place: Place, { token, login, host, yes, rail, wait }: Options): Promise<Told> {
  if (yes && host === undefined && (token !== undefined || login !== undefined))
    throw notDone(
      'Nothing was paid.',
      '--token and --login with --yes would tell them to whatever host the address names.',
      `Add --host ${new URL(place.base).host} if that is where your account is.`,
    );
  return pay(wallet, place, { token, login, rail, waitS: Number(wait) });
}

async function run(uri: string, options: Options, work: Work): Promise<void> {
  const terminal = openTerminal();
  try {
    const place = readPlace(uri);
    const { host } = new URL(place.base);
    if (options.host !== undefined && options.host.toLowerCase() !== host)
      throw notDone(
        'Nothing was done.',
        `The order is at ${host}, and not at ${options.host}.`,
        'Look where the address comes from.',
      );
    const { key: keyFile, home, yes = false } = options;
    const key = keyFile === undefined ? undefined : readKey(keyFile);
    const told = await work({ purse: openPurse(home), terminal, key, keyFile, isSure: yes }, place, options);
    terminal.print(options.json ? JSON.stringify({ done: true, ...told }) : inWords(told));
  } catch (fault) {
    if (!(fault instanceof WalletFault)) throw fault;
    tell(fault, terminal, options);
  } finally {
    terminal.close();
  }
}

function tell({ message: what, why, todo, exitCode }: WalletFault, { print }: Terminal, { json }: Options): void {
  if (json) print(JSON.stringify({ done: false, exit_code: exitCode, what, why, todo }));
  else process.stderr.write(`${what}\n${why}\n${todo}\n`);
  process.exitCode = exitCode;
}

const headlines: Record<string, string> = {
  paid: 'Paid.',
  opened: 'Not paid yet: it waits for your payment. Run the same again to see how it stands.',
  already_paid: 'Already paid: nothing was charged.',
  asked_back: 'Asked back. Run the same again to see how it stands.',
  proved: 'Shown: the browser can read it now. Nothing was charged.',
};

const inWords = ({ result, ...told }: Told): string =>
  [
    bold(headlines[result] ?? result),
    ...columns([
      ['what', shown(told['summary'])],
      ['order', shown(told.order_id)],
      ...(told['fulfillment_url'] === null ? [] : [['read it at', shown(told['fulfillment_url'])] as [string, string]]),
      ...(told['session_id'] === null
        ? []
        : [['open in', `the browser with session ${shown(told['session_id'])}`] as [string, string]]),
    ]),
    ...('refund_status' in told ? columns([['refund', String(told['refund_status'])]]) : []),
    ...(result === 'opened' ? whereToPay(told as unknown as Parameters<typeof whereToPay>[0], told['rail']) : []),
  ].join('\n');
