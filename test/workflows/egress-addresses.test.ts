import { createHook } from 'node:async_hooks';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createEgress, EgressFault } from '../../src/platform/egress.ts';
import { Problem } from '../../src/platform/http/problem.ts';

/** Where an executor may live: vectors of the OWASP SSRF list, of hook0's and svix's suites, and of the RFCs' registries. */

const egress = createEgress([]);
afterAll(() => egress.close());

const refusalOf = (url: string, of = egress): string | null => {
  try {
    of.check(url, '/executor/endpoint');
    return null;
  } catch (fault) {
    if (!(fault instanceof Problem)) throw fault;
    expect(fault.errors).toEqual([
      { pointer: '/executor/endpoint', code: 'endpoint_refused', detail: expect.any(String) },
    ]);
    return fault.code;
  }
};
const fine = { headers: {}, body: '{}', timeoutMs: 300 };
/** Why a call was not made, or what it came to. */
const outcomeOf = (url: string, of = egress): Promise<string> =>
  of.post(url, fine).then(
    (reply) => String(reply.status),
    (fault: unknown) => (fault instanceof EgressFault ? fault.kind : String(fault)),
  );

const v4 = {
  'this machine': ['127.0.0.1', '127.1', '127.0.1', '127.255.255.254', '0', '0.0.0.0', '0.1.2.3'],
  'this machine, written otherwise': [
    ...['2130706433', '0x7f000001', '0x7f.1', '0x7f.0x0.0x0.0x1', '017700000001', '0177.0.0.1', '0177.1'],
    ...['①②⑦.⓪.⓪.①', '１２７.０.０.１', '127。0。0。1', '127.0.0.1.'],
  ],
  'private networks': [
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '0xa.1',
    '3232235777',
  ],
  'link-local and metadata': [
    '169.254.0.1',
    '169.254.169.254',
    '169.254.170.2',
    '0xa9fea9fe',
    '2852039166',
    '0251.0376.0251.0376',
  ],
  'carrier-grade NAT': ['100.64.0.1', '100.127.255.255', '100.100.100.200'],
  'protocols, benchmarks, documentation': [
    ...['192.0.0.1', '192.0.0.192', '198.18.0.1', '198.19.255.255', '192.0.2.1', '198.51.100.1', '203.0.113.1'],
    ...['192.88.99.1', '192.31.196.1', '192.52.193.1', '192.175.48.1'],
  ],
  'multicast, reserved, broadcast': ['224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.254', '255.255.255.255'],
  'the host of an Azure machine': ['168.63.129.16'],
};
const v6 = {
  'this machine': ['::', '::1', '0:0:0:0:0:0:0:1'],
  'mapped IPv4': ['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:a9fe:a9fe', '::ffff:10.0.0.1', '::ffff:c0a8:101'],
  'translated and compatible IPv4': ['::ffff:0:7f00:1', '::127.0.0.1', '::a9fe:a9fe', '::8.8.8.8'],
  NAT64: ['64:ff9b::7f00:1', '64:ff9b::a9fe:a9fe', '64:ff9b::8.8.8.8', '64:ff9b:1::a9fe:a9fe'],
  '6to4 and Teredo': ['2002:7f00:1::', '2002:a9fe:a9fe::1', '2001::1', '2001:0:7f00:1::'],
  'local ones': ['fc00::1', 'fd00:ec2::254', 'fdff::1', 'fe80::1', 'febf::1', 'fec0::1'],
  'documentation, benchmarks, identifiers': [
    '2001:db8::1',
    '3fff::1',
    '2001:2::1',
    '2001:10::1',
    '2001:20::1',
    '2620:4f:8000::1',
  ],
  'discard, segments, multicast, never given out': [
    '100::1',
    '100:0:0:1::1',
    '5f00::1',
    'ff02::1',
    '4000::1',
    'e000::1',
  ],
};
const hosts = [
  ...Object.entries(v4).flatMap(([why, all]) => all.map((host) => [why, host] as const)),
  ...Object.entries(v6).flatMap(([why, all]) => all.map((host) => [why, `[${host}]`] as const)),
  ...['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ', 'db.local', 'x.internal', 'x.internal.']
    .concat('metadata.google.internal', 'router.home.arpa')
    .map((host) => ['a name of the house', host] as const),
];

test.each(hosts)('%s: %s is refused when it is written down, and never called', async (_, host) => {
  for (const port of ['', ':8443']) {
    expect(refusalOf(`https://${host}${port}/x?y`)).toBe('endpoint_refused');
    expect(await outcomeOf(`https://${host}${port}/x?y`)).toBe('blocked');
  }
});

test.each<[string, string]>([
  ['credentials', 'https://user:secret@example.com/'],
  ['a user', 'https://user@example.com/'],
  ['credentials that look like a host', 'https://example.com@127.0.0.1/'],
  ['plain http', 'http://example.com/'],
  ['another port', 'https://example.com:22/'],
  ["the database's port", 'https://example.com:5432/'],
  ['the port of http', 'https://example.com:80/'],
  ['port 0', 'https://example.com:0/'],
  ...['ftp', 'file', 'gopher', 'data', 'javascript', 'ws', 'wss', 'ldap', 'dict', 'jar', 'blob'].map(
    (scheme): [string, string] => [`the scheme ${scheme}`, `${scheme}://example.com/`],
  ),
  ['a file', 'file:///etc/passwd'],
  ['data', 'data:text/plain,hello'],
  ['too many slashes', 'https:///127.0.0.1/'],
  ['too few', 'https:127.0.0.1'],
  ['backslashes', 'https:\\\\127.0.0.1\\'],
  ['a host behind a fragment', 'https://127.0.0.1#@example.com/'],
  ['a host behind a backslash', 'https://127.0.0.1\\@example.com/'],
  ['blanks around it', ' https://127.0.0.1\t'],
  ['a line break within', 'https://127.0.\n0.1/'],
])('%s: %j is refused', async (_, url) => {
  expect(refusalOf(url)).toBe('endpoint_refused');
  expect(await outcomeOf(url)).toBe('blocked');
});

test.each([
  '',
  'example.com',
  '/relative',
  '//example.com',
  'https://',
  'https://[::1%25eth0]/',
  'https://exa mple.com',
])('what is no address at all, as %j, is refused', (url) => {
  expect(refusalOf(url)).toBe('endpoint_refused');
});

test.each([
  'https://example.com',
  'https://example.com:8443/hook?x=1#y',
  'https://EXAMPLE.com:443',
  'https://8.8.8.8/',
  'https://[2606:4700:4700::1111]/',
  'https://xn--bcher-kva.example/',
  'https://internal.example.com/',
  'https://localhost.example.com/',
  'https://[::ffff:8.8.8.8]/',
])('%s may be called', (url) => {
  expect(refusalOf(url)).toBeNull();
});

test('an own address is refused, be it as public as it may', async () => {
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  expect(own.length).toBeGreaterThan(0);
  for (const { address, family } of own) {
    const host = family === 'IPv6' ? `[${address.split('%', 1)[0]}]` : address;
    expect(refusalOf(`https://${host}/`)).toBe('endpoint_refused');
  }
});

describe('what the operator allows', () => {
  const allowing = createEgress(['N8N.internal:5678', '10.0.0.5:80', 'secure.internal:443', '[fd00::1]:8080']);
  afterAll(() => allowing.close());

  test.each(['http://n8n.internal:5678/webhook', 'https://n8n.internal:5678/', 'http://N8N.INTERNAL:5678/'])(
    '%s: that host and port, by either scheme, in any case',
    (url) => expect(refusalOf(url, allowing)).toBeNull(),
  );
  test.each(['http://10.0.0.5/', 'https://secure.internal/', 'http://[fd00::1]:8080/', 'http://0xa.5/'])(
    '%s: with the port of its scheme, and however the address is written',
    (url) => expect(refusalOf(url, allowing)).toBeNull(),
  );
  test.each([
    ...[
      'http://n8n.internal/',
      'http://n8n.internal:5679/',
      'http://a.n8n.internal:5678/',
      'http://n8n.internal.:5678/',
    ],
    ...['http://xn8n.internal:5678/', 'https://10.0.0.5/', 'http://10.0.0.6/', 'http://secure.internal/'],
    ...['ftp://n8n.internal:5678/', 'http://u:p@n8n.internal:5678/', 'http://n8n.internal:5678@10.0.0.1/'],
  ])('%s: nothing else', (url) => expect(refusalOf(url, allowing)).toBe('endpoint_refused'));
});

describe('a name is judged by where it leads, at each call', () => {
  const leadingTo = (...answers: (string[] | Error)[]) => {
    const asked: string[] = [];
    const of = createEgress([], {
      lookup: async (host) => {
        const answer = answers[Math.min(asked.length, answers.length - 1)] ?? [];
        asked.push(host);
        if (answer instanceof Error) throw answer;
        return answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
      },
    });
    onTestFinished(() => of.close());
    return { of, asked };
  };

  test.each<[string, string[]]>([
    ['a private address', ['10.0.0.1']],
    ['this machine', ['127.0.0.1']],
    ['this machine by IPv6 only', ['::1']],
    ['a mapped address', ['::ffff:169.254.169.254']],
    ['NAT64', ['64:ff9b::a9fe:a9fe']],
    ['a link-local address with its zone', ['fe80::1%eth0']],
    ['a public and a private address', ['8.8.8.8', '192.168.0.1']],
    ['a private and a public address', ['192.168.0.1', '8.8.8.8']],
    ['a public address and a private one by IPv6', ['8.8.8.8', 'fd00::1']],
    ['something that is no address', ['8.8.8.8.8']],
  ])('%s: blocked', async (_, addresses) => {
    const { of, asked } = leadingTo(addresses);
    expect(refusalOf('https://wiki.example.com/', of)).toBeNull(); // nobody asks before the call
    expect(await outcomeOf('https://wiki.example.com/', of)).toBe('blocked');
    expect(asked).toEqual(['wiki.example.com']);
  });

  test('no address, or no answer: a fault of the network, that may pass', async () => {
    expect(await outcomeOf('https://wiki.example.com/', leadingTo([]).of)).toBe('network');
    const silent = Object.assign(new Error('queryA ENOTFOUND wiki.example.com'), { code: 'ENOTFOUND' });
    const fault = await leadingTo(silent)
      .of.post('https://wiki.example.com/', fine)
      .catch((thrown) => thrown);
    expect([fault.kind, fault.message]).toEqual(['network', 'The connection failed (ENOTFOUND).']);
  });

  test('rebinding: it is asked once, and what was checked is what is connected to', async () => {
    let visits = 0;
    const inside = createServer((socket) => {
      visits += 1;
      socket.destroy();
    });
    await new Promise<void>((done) => inside.listen(8443, '127.0.0.1', done).once('error', () => done()));
    onTestFinished(() => void inside.close());
    const wraps: { address?: unknown; port?: unknown }[] = [];
    const hook = createHook({
      init: (_id, type, _trigger, resource) => void (type === 'TCPCONNECTWRAP' && wraps.push(resource)),
    }).enable();
    const { of, asked } = leadingTo(['3ffe::1'], ['127.0.0.1']); // public once, and routed nowhere since 2006
    expect(['network', 'timeout']).toContain(await outcomeOf('https://rebinds.example.com:8443/', of));
    hook.disable();
    expect(asked).toEqual(['rebinds.example.com']);
    // What other tests have left in this process may connect, too: to other ports.
    expect(wraps.flatMap(({ address, port }) => (port === 8443 ? [address] : []))).toEqual(['3ffe::1']);
    expect(visits).toBe(0);
    expect(await outcomeOf('https://rebinds.example.com:8443/', of)).toBe('blocked');
    expect(visits).toBe(0);
  });

  test('the resolver of this machine is asked: localhost by another name is blocked', async () => {
    expect(['blocked', 'network']).toContain(await outcomeOf('https://ip6-localhost/'));
  });
});
