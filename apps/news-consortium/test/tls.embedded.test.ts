/** Clients, agents and nodes over TLS: who trusts the certificate comes through, and nobody else. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExitError } from '@lab/process';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ask } from '../src/wire/asking.ts';
import { askOver, roleTls, trustOf } from '../src/wire/tls.ts';
import { administrator, ConsortiumInProcess } from './consortium-in-process.ts';

const main = join(import.meta.dirname, '../src/main.ts');
const fileOf = (name: string): string => join(import.meta.dirname, '../lab-secrets', name);
const anothers = join(import.meta.dirname, '../../../libs/protocol/test/test-only.cert.pem');
const pem = (file: string): string => readFileSync(file, 'utf8');
const tls = { tlsKey: pem(fileOf('tls-key')), tlsCertificate: pem(fileOf('tls-certificate')) };

let postgres: EmbeddedPostgres;
let system: ConsortiumInProcess;
let home: string;
beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
  system = await ConsortiumInProcess.start(postgres, { agents: 1, nodes: 2, tls });
  home = await mkdtemp(join(tmpdir(), 'client-'));
}, 180_000);
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await postgres.stop();
  await rm(home, { recursive: true });
});

const start = (...args: readonly string[]) =>
  spawn(process.execPath, [main, 'client', ...args], { env: { ...process.env, HOME: home } });

async function run(...args: readonly string[]): Promise<unknown[]> {
  const child = start(...args);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [code] = (await once(child, 'close')) as [number];
  return [code, said];
}
const agents = (): string[] => ['--agents', system.agentAddresses.join()];
const logIn = (...trust: string[]): Promise<unknown[]> =>
  run('login', administrator.name, '--password', administrator.password, ...agents(), ...trust);

it('a client that trusts the certificate registers, logs in, and needs to name it no more to post and to watch', async () => {
  const ca = ['--ca', fileOf('tls-certificate')];
  expect((await run('register', 'ana', '--password', 'correct horse', ...agents(), ...ca))[0]).toBe(0);
  expect((await logIn(...ca))[0]).toBe(0);
  expect(await run('area', 'add', 'sports')).toEqual([0, 'added sports, for 1 node\n']);
  await eventually(async () => (await run('subscribe', 'sports'))[0] === 0);
  const watching = start('watch', 'sports');
  let shown = '';
  watching.stdout.on('data', (data: Buffer) => (shown += data.toString()));
  await eventually(async () => {
    expect((await run('post', 'sports', 'It rains'))[0]).toBe(0);
    return shown.includes('It rains');
  });
  watching.kill('SIGINT');
  expect(await once(watching, 'close')).toEqual([0, null]);
});

it.each([
  ['without one is told that it needs it', [], /^cannot connect to \S+: it speaks TLS: give its certificate with --ca\n$/, 1],
  ["with another's is told that it is", ['--ca', anothers], /: the certificate that it shows is another's than the trusted/, 1],
  ['with what is none is told so', ['--ca', fileOf('admin-password')], /admin-password holds no certificate in PEM/, 2],
  ['with a file that is not there is told so', ['--ca', fileOf('none')], /^the certificate cannot be read: ENOENT/, 2],
])('a client %s', async (_, trust, sentence, exitCode) => {
  expect(await logIn(...trust)).toEqual([exitCode, expect.stringMatching(sentence)]);
});

it('nodes are refused who trust another certificate, and clients by a peer that speaks without TLS', async () => {
  const trust = trustOf(pem(anothers), 'test');
  const [address] = (await system.client().ask('where', {})).nodes;
  const asking = askOver(ask, trust);
  await expect(asking(address!, 'health', {}, { timeoutMs: 10_000 })).rejects.toThrow("is another's than the trusted one");
  await using plain = await ConsortiumInProcess.start(postgres, { agents: 1, nodes: 0 });
  await expect(askOver(ask, system.tls)(plain.agentAddresses[0]!, 'where', {}, { timeoutMs: 10_000 })).rejects.toThrow(
    'what answers there does not speak TLS',
  );
});

it('a key without its certificate is wrong usage, and so is one of another certificate', () => {
  for (const settings of [{ tlsKey: tls.tlsKey }, { ...tls, tlsCertificate: pem(anothers) }, { ...tls, tlsKey: 'none' }])
    expect(() => roleTls(settings)).toThrow(ExitError);
  expect(roleTls({})).toBeUndefined();
});
