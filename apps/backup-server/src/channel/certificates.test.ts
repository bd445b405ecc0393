import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type ConnectionOptions, type TlsOptions } from 'node:tls';
import { ExitError } from '@lab/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificates } from './certificates.ts';
import { clientTls, loadTls, peerIdentity, PeerIdentityError, serverTls } from './tls.ts';

let root: string;
let ours: string;
let theirs: string;
const longestName = 'n'.repeat(64);

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'certificates-'));
  ours = join(root, 'ours');
  theirs = join(root, 'theirs');
  await makeCertificates({ directory: ours, names: ['a', longestName] });
  await makeCertificates({ directory: theirs, names: [] });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const freshDirectory = (): Promise<string> => mkdtemp(join(root, 'case-'));

interface Meeting {
  /** Whom each side saw; undefined where it saw nobody. */
  serverSaw?: string | undefined;
  clientSaw?: string | undefined;
  protocol?: string | null;
  clientError?: Error;
  serverError?: Error;
  /** What the server sent to those it took. */
  received: string;
}

/** One connection over the loopback: the server greets whom it takes, and both are asked whom they saw. */
async function meet(serverOptions: TlsOptions, clientOptions: ConnectionOptions): Promise<Meeting> {
  const meeting: Meeting = { received: '' };
  const server = createServer(serverOptions, (socket) => {
    meeting.serverSaw = peerIdentity(socket);
    socket.on('error', () => {});
    socket.end('welcome');
  });
  server.on('tlsClientError', (error) => (meeting.serverError = error));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, ...clientOptions });
  socket.on('secureConnect', () => {
    meeting.clientSaw = peerIdentity(socket);
    meeting.protocol = socket.getProtocol();
  });
  socket.on('error', (error: Error) => (meeting.clientError = error));
  socket.on('data', (data: Buffer) => (meeting.received += data.toString()));
  const closed = Promise.withResolvers<void>();
  socket.on('close', () => closed.resolve());
  await closed.promise;
  server.close();
  await once(server, 'close');
  return meeting;
}

describe('a handshake', () => {
  it('shows each side who the other is, over TLS 1.3', async () => {
    const meeting = await meet(serverTls(ours, 'server'), clientTls(ours, 'admin', 'server'));
    expect(meeting).toEqual({ serverSaw: 'admin', clientSaw: 'server', protocol: 'TLSv1.3', received: 'welcome' });
  });

  it.each(['a', longestName])('works for the node %s in both directions', async (name) => {
    const asClient = await meet(serverTls(ours, 'server'), clientTls(ours, `node-${name}`, 'server'));
    expect(asClient).toMatchObject({ serverSaw: `node:${name}`, clientSaw: 'server', received: 'welcome' });
    const asServer = await meet(serverTls(ours, `node:${name}`), clientTls(ours, 'requester', `node-${name}`));
    expect(asServer).toMatchObject({ serverSaw: 'requester', clientSaw: `node:${name}`, received: 'welcome' });
  });

  it('still shows who the client is when its session is resumed', async () => {
    const options = clientTls(ours, 'admin', 'server');
    const seen: { reused: boolean; identity: string | undefined }[] = [];
    const server = createServer(serverTls(ours, 'server'), (socket) => {
      seen.push({ reused: socket.isSessionReused(), identity: peerIdentity(socket) });
      socket.end('welcome');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
    const first = connect({ ...address, ...options });
    const [session] = (await once(first, 'session')) as [Buffer];
    first.resume();
    if (!first.closed) await once(first, 'close');
    const second = connect({ ...address, ...options, session }).resume();
    await once(second, 'close');
    server.close();
    expect(seen).toEqual([
      { reused: false, identity: 'admin' },
      { reused: true, identity: 'admin' },
    ]);
  });

  it('refuses a server of another authority', async () => {
    const meeting = await meet(serverTls(theirs, 'server'), clientTls(ours, 'admin', 'server'));
    expect(meeting.clientError).toMatchObject({ code: 'SELF_SIGNED_CERT_IN_CHAIN' });
    expect(meeting).not.toHaveProperty('clientSaw');
    expect(meeting.received).toBe('');
  });

  it('refuses a client of another authority', async () => {
    const { cert, key } = loadTls({ directory: theirs, identity: 'admin' });
    const meeting = await meet(serverTls(ours, 'server'), { ...clientTls(ours, 'admin', 'server'), cert, key });
    expect(meeting).not.toHaveProperty('serverSaw');
    expect(meeting).toMatchObject({ clientSaw: 'server', received: '' });
  });

  it('refuses a client without a certificate', async () => {
    const options = { ...clientTls(ours, 'admin', 'server'), cert: undefined, key: undefined };
    const meeting = await meet(serverTls(ours, 'server'), options);
    expect(meeting).not.toHaveProperty('serverSaw');
    expect(meeting).toMatchObject({ serverError: { code: 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE' }, received: '' });
  });

  it('refuses a server with another identity than the expected one', async () => {
    const meeting = await meet(serverTls(ours, 'node-a'), clientTls(ours, 'admin', 'server'));
    expect(meeting.clientError).toBeInstanceOf(PeerIdentityError);
    expect(meeting.clientError?.message).toBe('the peer at "127.0.0.1" is "node:a", not "server"; check the address');
    expect(meeting).not.toHaveProperty('clientSaw');
    expect(meeting.received).toBe('');
  });

  it('refuses TLS 1.2 on both sides', async () => {
    const old = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    const oldClient = await meet(serverTls(ours, 'server'), { ...clientTls(ours, 'admin', 'server'), ...old });
    expect(oldClient).toMatchObject({ serverError: { code: 'ERR_SSL_UNSUPPORTED_PROTOCOL' }, received: '' });
    const oldServer = await meet({ ...serverTls(ours, 'server'), ...old }, clientTls(ours, 'admin', 'server'));
    expect(oldServer).toMatchObject({ clientError: { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' }, received: '' });
  });

  it('gives no identity to a certificate that nobody verified', async () => {
    const options = { ...clientTls(ours, 'admin', 'server'), rejectUnauthorized: false };
    const meeting = await meet(serverTls(theirs, 'server'), options);
    expect(meeting).toHaveProperty('clientSaw', undefined);
  });
});

describe('makeCertificates', () => {
  const contents = async (directory: string): Promise<Record<string, string>> => {
    const files: Record<string, string> = {};
    for (const name of (await readdir(directory)).sort()) files[name] = await readFile(join(directory, name), 'utf8');
    return files;
  };

  it('makes keys that only their owner reads, in a directory that only its owner enters', async () => {
    const mode = async (name: string): Promise<string> => ((await stat(join(ours, name))).mode & 0o777).toString(8);
    const keys = (await readdir(ours)).filter((name) => name.endsWith('.key'));
    expect(keys.sort()).toEqual(['admin.key', 'ca.key', 'node-a.key', `node-${longestName}.key`, 'requester.key', 'server.key']);
    expect(await Promise.all(keys.map(mode))).toEqual(keys.map(() => '600'));
    expect(await mode('.')).toBe('700');
  });

  it('writes certificates with the identity, for ten years, and no authority in those of identities', async () => {
    const directory = join(root, 'dated');
    await makeCertificates({ directory, names: ['a'], now: new Date('2025-03-01T12:00:00Z') });
    const read = async (name: string) => new X509Certificate(await readFile(join(directory, name)));
    const [ca, leaf] = [await read('ca.pem'), await read('node-a.pem')];
    expect(ca).toMatchObject({ ca: true, subject: 'CN=lab-backup authority', validTo: 'Mar  1 12:00:00 2035 GMT' });
    expect(leaf).toMatchObject({
      ca: false,
      subject: 'CN=node:a',
      subjectAltName: 'URI:lab-backup:node:a',
      keyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
      validFrom: 'Mar  1 11:00:00 2025 GMT',
      validTo: 'Mar  1 12:00:00 2035 GMT',
    });
    expect(leaf.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true);
  });

  it('adds a node with the same authority and leaves the rest as it is', async () => {
    const directory = join(root, 'grown');
    expect(await makeCertificates({ directory, names: ['a'] })).toEqual(['server', 'requester', 'admin', 'node-a']);
    const before = await contents(directory);
    expect(await makeCertificates({ directory, names: ['a', 'b', 'b'] })).toEqual(['node-b']);
    const after = await contents(directory);
    expect(after).toMatchObject(before);
    expect(Object.keys(after).filter((name) => !(name in before))).toEqual(['node-b.key', 'node-b.pem']);
    const meeting = await meet(serverTls(directory, 'server'), clientTls(directory, 'node-b', 'server'));
    expect(meeting).toMatchObject({ serverSaw: 'node:b', received: 'welcome' });
    expect(await makeCertificates({ directory, names: ['a'] })).toEqual([]);
  });

  it('needs the key of the authority only to add', async () => {
    const directory = await freshDirectory();
    await makeCertificates({ directory, names: ['a'] });
    await rm(join(directory, 'ca.key'));
    expect(await makeCertificates({ directory, names: ['a'] })).toEqual([]);
    await expect(makeCertificates({ directory, names: ['b'] })).rejects.toThrow(
      `"${join(directory, 'ca.pem')}" is there without "${join(directory, 'ca.key')}", and nothing is overwritten`,
    );
  });

  it('makes no second authority for what another one signed', async () => {
    const directory = await freshDirectory();
    await writeFile(join(directory, 'node-z.pem'), 'theirs');
    await expect(makeCertificates({ directory, names: [] })).rejects.toThrow(
      `"${join(directory, 'node-z.pem')}" is there without its authority`,
    );
    expect(await contents(directory)).toEqual({ 'node-z.pem': 'theirs' });
  });

  it('overwrites neither a key nor a certificate that stands alone, and names it', async () => {
    const directory = await freshDirectory();
    await writeFile(join(directory, 'node-a.key'), 'precious');
    await expect(makeCertificates({ directory, names: ['a'] })).rejects.toThrow(
      `"${join(directory, 'node-a.key')}" is there without "${join(directory, 'node-a.pem')}"`,
    );
    expect(await contents(directory)).toEqual({ 'node-a.key': 'precious' });
  });

  it('does not sign with the key of another authority', async () => {
    const directory = await freshDirectory();
    await makeCertificates({ directory, names: [] });
    await copyFile(join(theirs, 'ca.key'), join(directory, 'ca.key'));
    await expect(makeCertificates({ directory, names: ['a'] })).rejects.toThrow('they belong to two authorities');
  });

  it.each(['', 'a/b', '../a', 'a b', 'a,b', 'a\n', 'a\0', 'CN=a', 'ä', 'a:b', 'n'.repeat(65)])(
    'refuses the name %j',
    async (name) => {
      const directory = join(root, 'hostile');
      const refused = makeCertificates({ directory, names: ['good', name] });
      await expect(refused).rejects.toThrow(`${JSON.stringify(name)} is no name of a node`);
      await expect(refused).rejects.toBeInstanceOf(ExitError);
      await expect(stat(directory)).rejects.toThrow('ENOENT');
    },
  );

  it('keeps names of dots inside the directory', async () => {
    const directory = join(root, 'dots');
    expect(await makeCertificates({ directory, names: ['.', '..', '-_.'] })).toContain('node-..');
    const meeting = await meet(serverTls(directory, 'server'), clientTls(directory, 'node-..', 'server'));
    expect(meeting).toMatchObject({ serverSaw: 'node:..', received: 'welcome' });
  });
});

describe('loadTls', () => {
  it('names the file that is missing and the command that makes it', () => {
    const directory = join(root, 'nowhere');
    expect(() => loadTls({ directory, identity: 'server' })).toThrow(
      `there is no "${join(directory, 'ca.pem')}"; make it by: main.ts certificates --output ${directory} --nodes a,b`,
    );
    expect(() => loadTls({ directory: ours, identity: 'node-c' })).toThrow(
      `there is no "${join(ours, 'node-c.pem')}"; make it by: main.ts certificates --output ${ours} --nodes c`,
    );
  });

  it.each(['', 'ca', 'node', 'Server', '../ours/server', 'node-../../x', 'node:a/b'])('refuses the identity %j', (identity) => {
    expect(() => loadTls({ directory: ours, identity })).toThrow(/is no (identity|name of a node)/);
    expect(() => clientTls(ours, 'admin', identity)).toThrow(/is no (identity|name of a node)/);
  });

  it('refuses a certificate of somebody else under the name of the identity', async () => {
    const directory = await freshDirectory();
    for (const [from, to] of [
      ['ca.pem', 'ca.pem'],
      ['admin.pem', 'server.pem'],
      ['admin.key', 'server.key'],
    ] as const)
      await copyFile(join(ours, from), join(directory, to));
    expect(() => loadTls({ directory, identity: 'server' })).toThrow('is a certificate of "CN=admin", not one of "CN=server"');
    await writeFile(join(directory, 'server.pem'), 'nonsense');
    expect(() => loadTls({ directory, identity: 'server' })).toThrow('is no certificate, not one of "CN=server"');
  });
});
