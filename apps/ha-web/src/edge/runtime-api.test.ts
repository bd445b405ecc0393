import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { HaproxyError } from './haproxy.ts';
import { makeRuntimeApi, parseServers } from './runtime-api.ts';

const servers: Server[] = [];
afterEach(() => void servers.splice(0).forEach((server) => server.close()));

/** Says to each command what is given for it; HAProxy itself is asked in the integration test. */
async function answering(answers: Readonly<Record<string, string | undefined>>) {
  const heard: string[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let command = '';
    socket.setEncoding('utf8').on('data', (part) => (command += String(part)));
    socket.on('end', () => {
      heard.push(command.trim());
      const answer = answers[command.split(' ')[0]!];
      if (answer !== undefined) socket.end(answer);
    });
  });
  const path = join(tmpdir(), `haproxy-${process.pid}-${servers.length}.sock`);
  servers.push(server.listen(path));
  await once(server, 'listening');
  return { api: makeRuntimeApi(path), heard };
}

const csv = (...lines: string[]): string =>
  `# pxname,svname,scur,status,check_code,last_chk,addr,\n${lines.map((line) => `${line}\n`).join('')}\n`;

describe('parseServers', () => {
  it('reads the states, with whatever stands in the other fields', () => {
    const text = csv(
      'api,web-1.0,2,UP,200,OK,10.0.0.1:8081,',
      'api,web-2.1,0,UP 1/2,200,"a, ""b""",10.0.0.2:8081,',
      'web,web-1.0,0,DOWN,503,,10.0.0.1:8080,',
      'web,web-2.1,0,MAINT,,,10.0.0.2:8080,',
    );
    expect(parseServers(text).map(({ backend, name, state, draining }) => [backend, name, state, draining])).toEqual([
      ['api', 'web-1.0', 'up', false],
      ['api', 'web-2.1', 'up', false],
      ['web', 'web-1.0', 'down', true],
      ['web', 'web-2.1', 'maintenance', false],
    ]);
    expect(parseServers(text)[0]).toMatchObject({ address: '10.0.0.1', port: 8081, requests: 2 });
  });

  it('refuses what is no list of servers', () => {
    expect(() => parseServers('Permission denied\n')).toThrow('Permission denied');
  });
});

describe('the runtime API', () => {
  it('gives a server its commands in order', async () => {
    const { api, heard } = await answering({
      add: 'New server registered.\n\n',
      enable: '\n',
      set: 'Server a/b is UP/READY.\n\n',
    });
    await api.apply({ kind: 'add', backend: 'a', name: 'b', address: '10.0.0.1', port: 80 });
    await api.apply({ kind: 'enable', backend: 'a', name: 'b' });
    expect(heard).toEqual([
      'add server a/b 10.0.0.1:80 check inter 200ms fall 2 rise 1 maxconn 500',
      'enable health a/b',
      'set server a/b state ready',
    ]);
  });

  it('rejects with what HAProxy said when it refuses', async () => {
    const { api } = await answering({ del: 'No such server.\n' });
    await expect(api.apply({ kind: 'remove', backend: 'a', name: 'b' })).rejects.toThrow('del server a/b: No such server.');
  });

  it('rejects when HAProxy is not there, and when it does not answer', async () => {
    const { api } = await answering({});
    await expect(api.servers()).rejects.toThrow('no answer within 300 ms');
    await expect(makeRuntimeApi('/no/such/socket').servers()).rejects.toBeInstanceOf(HaproxyError);
  });
});
