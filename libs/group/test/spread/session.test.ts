import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/spread/codec.ts';
import { ConnectionError, format, RefusedError, Session, type SessionMessage } from '../../src/spread/session.ts';
import { closes, cuts, readTranscript, sends, startScriptedDaemon, type ScriptedDaemon } from './scripted-daemon.ts';

const clock = new FakeClock();

function open(daemon: ScriptedDaemon, name: string, receive: (message: SessionMessage) => void = () => {}): Session {
  const [host, port] = daemon.address.split(':');
  return new Session({ daemon: { host: host!, port: Number(port) }, name, connectTimeoutMs: 5_000, clock, receive });
}

describe('a session', () => {
  it.each(['alice', 'bob'])('says and hears, as %s, all that the transcript has', async (name) => {
    const transcript = readTranscript(name);
    await using daemon = await startScriptedDaemon(transcript);
    const received: SessionMessage[] = [];
    const session = open(daemon, name, (message) => received.push(message));
    await session.accepted;
    expect(session.privateName).toBe(`#${name}#localhost`);
    const [, , ...requests] = transcript.filter(({ type }) => type === 'expect');
    for (const { bytes } of requests) session.send(bytes);
    await daemon.played();
    await eventually(() => received.length === 11);
    session.drop(new Error('seen enough'));
    expect(await session.ended).toEqual(new Error('seen enough'));
  });

  it.each([
    ['duplicate-name', 'alice', true],
    ['name-with-hash', 'a#b', false],
    ['name-with-space', 'a b', false],
  ])('is refused as in %s', async (transcript, name, duplicateName) => {
    await using daemon = await startScriptedDaemon([...readTranscript(transcript), closes]);
    const session = open(daemon, name);
    const error: unknown = await session.accepted.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({ duplicateName });
    expect(await session.ended).toBe(error);
    await daemon.played();
  });

  it('says whether it was cut within a message', async () => {
    const opening = readTranscript('alice').slice(0, 5);
    await using daemon = await startScriptedDaemon([...opening, closes], [...opening, sends(Buffer.alloc(47)), closes]);
    const reasons: Error[] = [];
    for (let connection = 0; connection < 2; connection++) reasons.push(await open(daemon, 'alice').ended);
    const where = `the Spread daemon at ${daemon.address}`;
    expect(reasons).toEqual([
      new ConnectionError(`${where}: it closed the connection`),
      new ConnectionError(`${where}: it closed the connection within a message`),
    ]);
  });

  it.each([
    [
      'fails',
      (_: Session, reason: Error) => {
        throw reason;
      },
    ],
    ['drops it', (session: Session, reason: Error) => session.drop(reason)],
  ])('hears nothing more after its receiver %s, even of bytes that have come', async (_, end) => {
    const transcript = readTranscript('alice');
    const messages = transcript.slice(5).flatMap(({ type, bytes }) => (type === 'send' ? [bytes] : []));
    await using daemon = await startScriptedDaemon([...transcript.slice(0, 5), sends(...messages)]);
    const reason = new ProtocolError('that is too much');
    const received: SessionMessage[] = [];
    const session = open(daemon, 'alice', (message) => {
      received.push(message);
      if (received.length === 2) end(session, reason);
    });
    expect(await session.ended).toBe(reason);
    await daemon.played();
    expect(received).toHaveLength(2);
  });

  it('tells its last bytes to a daemon that is gone already without waiting', async () => {
    await using daemon = await startScriptedDaemon([...readTranscript('alice').slice(0, 5), cuts]);
    const session = open(daemon, 'alice');
    await session.ended;
    await session.close(Buffer.from('too late'), 5_000);
  });

  it('writes addresses as they are read', () => {
    expect(format({ host: 'localhost', port: 4803 })).toBe('localhost:4803');
    expect(format({ host: '::1', port: 4803 })).toBe('[::1]:4803');
  });
});
