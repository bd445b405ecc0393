import { statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FramedServer } from '@lab/protocol';
import { eventually } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectChannel, listenChannels, RefusedError, type Channel } from './channel.ts';
import { isAdmin, keyFor, keyText, makeKey, readKey, writeKey } from './keys.ts';

const master = makeKey();

describe('a channel', () => {
  let server: FramedServer;
  let [asks, answers]: Channel[] = [];
  const over = Promise.withResolvers<void>();
  beforeEach(async () => {
    const keyOfNode = (): Buffer => keyFor(master, 'node-a');
    const listening = { host: '127.0.0.1', port: 0, keyOf: keyOfNode, connectionsMax: 10, onRefused: () => {} };
    answers = undefined;
    server = await listenChannels(listening, async (channel) => {
      answers = channel;
      await over.promise;
    });
    const target = { host: '127.0.0.1', port: server.port, identity: 'node-a', key: keyOfNode() };
    asks = await connectChannel(target);
    await eventually(() => answers !== undefined);
  });
  afterEach(async () => {
    for (const channel of [asks, answers]) channel!.destroy();
    await server.close();
  });

  it('passes messages on, with their bodies', async () => {
    await asks!.send({ kind: 'backup', path: 'docs/ä\udcff' });
    expect((await answers!.expect('list', 'backup')).head).toEqual({ kind: 'backup', path: 'docs/ä\udcff' });
    await answers!.send({ kind: 'bundle' }, Buffer.from('one '), Buffer.from('two'));
    expect((await asks!.expect('bundle')).body.toString()).toBe('one two');
  });

  it('keeps the order of many messages in both directions at once', async () => {
    const numbers = Array.from({ length: 300 }, (_, index) => index);
    const received = async (channel: Channel): Promise<number[]> => {
      const got: number[] = [];
      for (let count = 0; count < 300; count++) got.push((await channel.expect('kept', 'bundle')).body.length);
      return got;
    };
    const sent = [asks!, answers!].map(async (channel) => {
      for (const length of numbers)
        await channel.send(length % 2 === 0 ? { kind: 'bundle' } : { kind: 'kept', bytes: length }, Buffer.alloc(length));
    });
    expect(await Promise.all([received(asks!), received(answers!)])).toEqual([numbers, numbers]);
    await Promise.all(sent);
  });

  it('says when the other has ended, and why it refuses', async () => {
    await answers!.send({ kind: 'failed', reason: 'the disk is full', code: 7 });
    await expect(asks!.receive('answer')).rejects.toMatchObject({ name: 'RefusedError', message: 'the disk is full', code: 7 });
    const closing = answers!.close();
    expect(await asks!.receive('answer')).toBeUndefined();
    await expect(asks!.expect('answer')).rejects.toThrow(RefusedError);
    await Promise.all([asks!.close(), closing]);
  });
});

describe('keys', () => {
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'keys-'))));
  afterEach(() => rm(folder, { recursive: true }));

  it('are read as they were written, and only their owner may read them', () => {
    for (const key of [master, makeKey(master, 'node-a.B_c-1'), makeKey(master, 'admin-ana')]) {
      const file = join(folder, key.identity);
      writeKey(file, key);
      expect(readKey(file)).toEqual(key);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(() => writeKey(file, master)).toThrow('EEXIST');
    }
  });

  it('of the master are those of all; of another only its own', () => {
    const own = makeKey(master, 'node-a');
    expect(keyFor(own, 'node-a')).toEqual(keyFor(master, 'node-a'));
    expect(keyFor(master, 'node-a')).not.toEqual(keyFor(master, 'node-b'));
    expect(keyFor(makeKey(), 'node-a')).not.toEqual(keyFor(master, 'node-a'));
    for (const other of ['node-b', 'admin-a', 'admin', 'master'])
      expect(() => keyFor(own, other)).toThrow(`the key is that of node-a; needed is that of ${other}, or the master key`);
  });

  it('open what their name says', () => {
    expect(['admin', 'admin-ana', 'node-a', 'master', 'admin-', 'admin-a/b', 'xadmin', ''].filter(isAdmin)).toEqual([
      'admin',
      'admin-ana',
    ]);
    for (const identity of ['node-', 'node-a b', 'root', 'admin-../x', `node-${'a'.repeat(65)}`])
      expect(() => makeKey(master, identity)).toThrow(`"${identity}" is nobody who has a key`);
  });

  it.each([
    ['', 'there is no key in'],
    ['a secret of old times, long enough', 'there is no key in'],
    [keyText(master).slice(0, -2), 'there is no key in'],
    [keyText({ ...master, identity: 'root' }), 'there is no key in'],
    [undefined, 'the key cannot be read: ENOENT'],
  ])('in a file of %j are refused, with a word on how to make one', (text, told) => {
    const file = join(folder, 'key');
    if (text !== undefined) writeFileSync(file, text);
    expect(() => readKey(file)).toThrow(told);
    expect(() => readKey(file)).toThrow('"main.ts key --output FILE" makes a master key');
  });
});
