/** The system of compose.yaml, as `npx nx up` starts it, with secrets of one's own. */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { docker } from '@lab/testing/containers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WholeStatus } from '../src/client/lists.ts';
import type { Replies } from '../src/messages.ts';
import { ask, type Ask } from '../src/wire/asking.ts';
import { askOver, askPlainly } from '../src/wire/tls.ts';
import { administrator, databases, labSecret, NewsComposeSystem } from './compose-system.ts';

let system: NewsComposeSystem;
let secrets: string;
beforeAll(async () => {
  secrets = await mkdtemp(join(tmpdir(), 'lab-secrets-'));
  await writeFile(join(secrets, 'postgres-password'), 'p@ss/w%rd:?#\n');
  await writeFile(join(secrets, 'admin-password'), administrator.password);
  for (const name of ['tls-key', 'tls-certificate']) await copyFile(labSecret(name), join(secrets, name));
  system = await NewsComposeSystem.start('integration', { SECRETS: secrets });
}, 300_000);
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(secrets, { recursive: true });
}, 120_000);

const texts = async (): Promise<string[]> =>
  (await system.command<Replies['read']>('read', 'sports')).items.map(({ text }) => text);

it('takes an administrator and a user from registration to reading, in the container to exec into', async () => {
  await system.command('login', administrator.name, '--password', administrator.password);
  await system.command('area', 'add', 'sports', '--nodes', '2');
  await system.command('register', 'ana', '--password', 'correct horse');
  await system.command('login', 'ana', '--password', 'correct horse');
  await system.command('subscribe', 'sports');
  await system.command('post', 'sports', 'It rains');
  expect(await texts()).toEqual(['It rains']);
});

it('has three nodes, of which two serve an area that wants two', async () => {
  const { nodes, areas } = await system.command<WholeStatus>('status');
  expect(nodes).toHaveLength(3);
  expect(areas).toMatchObject([{ area: 'sports', wanted: 2 }]);
  expect(new Set(areas[0]!.nodes).size).toBe(2);
});

it('takes clients over TLS only, at agents and nodes', async () => {
  const { nodes } = await system.client().ask('where', {});
  expect(nodes).toHaveLength(3);
  for (const address of [...system.agentAddresses, ...nodes]) {
    const asked = (asking: Ask): Promise<object> => asking(address, 'health', {}, { timeoutMs: 10_000 });
    await expect(asked(ask)).rejects.toThrow('the connection is closed: by the peer');
    await expect(asked(askPlainly(ask))).rejects.toThrow('it speaks TLS: give its certificate with --ca');
    // Whichever role it is, it answers; an agent, that it is not one to be asked that.
    const answer = await asked(askOver(ask, system.tls)).catch((error: unknown) => error);
    expect(answer).toMatchObject(nodes.includes(address) ? { healthy: true } : { code: 'malformed' });
  }
});

it('comes back with all that was posted when every container was stopped and started', async () => {
  await system.compose('stop', '--timeout', '12');
  await system.up();
  await system.command('post', 'sports', 'It rains again');
  expect(await texts()).toEqual(['It rains', 'It rains again']);
});

it('comes back when every container was killed at once, and with new containers for all but the volume', async () => {
  await system.compose('kill');
  await system.compose('rm', '--force', 'agent-1', 'agent-2', 'node', ...databases, 'postgres-monitor');
  await system.up();
  await system.command('post', 'sports', 'And again');
  expect(await texts()).toEqual(['It rains', 'It rains again', 'And again']);
  // The nodes that were killed are other ones now; those of before are gone.
  await eventually(async () => (await system.command<WholeStatus>('status')).nodes.length === 3, {
    timeoutMs: 120_000,
    intervalMs: 200,
  });
});

it('makes the primary anew whose disk is lost, from the standby, which has taken over', async () => {
  const lost = await system.replicated();
  const { id } = system.container(lost);
  const disk = await docker('inspect', '--format', '{{range .Mounts}}{{if eq .Destination "/data"}}{{.Name}}{{end}}{{end}}', id);
  await system.compose('rm', '--force', '--stop', lost);
  await docker('volume', 'rm', disk.trim());
  await system.up();
  expect(await system.replicated()).not.toBe(lost);
  await system.command('post', 'sports', 'On one disk');
  await system.compose('kill', ...databases.filter((name) => name !== lost));
  expect(await texts()).toEqual(['It rains', 'It rains again', 'And again', 'On one disk']);
});
