import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { systemClock, type Clock } from '@lab/process/time';
import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { IndefiniteError, type GroupEvent, type Membership } from '../../src/port.ts';
import { encodeHello, encodeKill, encodeLeave, encodeMulticast } from '../../src/spread/codec.ts';
import { makeSpreadGroup, type SpreadOptions } from '../../src/spread/spread-group.ts';
import {
  closes,
  cuts,
  expects,
  readTranscript,
  sends,
  startScriptedDaemon,
  type ScriptedDaemon,
  type Step,
  type WireStep,
} from './scripted-daemon.ts';

const alice = '#alice#localhost';
const bob = '#bob#localhost';
const [aliceMember, bobMember] = [
  { id: alice, name: 'alice' },
  { id: bob, name: 'bob' },
];

const aliceTranscript = readTranscript('alice');
const bobTranscript = readTranscript('bob');
const duplicateName = readTranscript('duplicate-name');

/** Hello, authentication, join and the first view, in which she is alone. */
const aliceJoins = aliceTranscript.slice(0, 7);
const bobComes = aliceTranscript[7]!;
const left = bobTranscript[22]!;
const aliceLeaves = [expects(encodeLeave(alice, 'chat')), left, expects(encodeKill(alice)), closes];

function multicast(sender: string, text: string, service: 'fifo' | 'agreed' | 'safe' = 'agreed'): Buffer {
  return encodeMulticast({ service, selfDiscard: false, sender, groups: ['chat'], messageType: 0, body: Buffer.from(text) });
}

/** The message types that the transcript's client gave its messages: ours has no use for them. */
function withoutMessageType({ type, bytes }: WireStep): WireStep {
  const isMessage = bytes.length >= 48 && (bytes[0]! & 0x80) !== 0;
  return { type, bytes: isMessage ? Buffer.concat([bytes.subarray(0, 41), Buffer.alloc(1), bytes.subarray(42)]) : bytes };
}

interface Fixture {
  daemon: ScriptedDaemon;
  join: (name?: string) => Promise<Membership>;
  warnings: string[];
}

async function start(scripts: readonly (readonly Step[])[], options: Partial<SpreadOptions> = {}): Promise<Fixture> {
  const daemon = await startScriptedDaemon(...scripts);
  const warnings: string[] = [];
  const log = {
    info: () => {},
    warn: ({ err }: { err?: Error }, message: string) => void warnings.push(`${message}: ${err?.message}`),
  };
  // Without a pause between two tries; deadlines are 5 s and more.
  const after: Clock['after'] = (delayMs, run) => systemClock.after(delayMs < 5_000 ? 0 : delayMs, run);
  const group = makeSpreadGroup({ daemon: daemon.address, clock: { after }, log, ...options });
  onTestFinished(async () => {
    await daemon[Symbol.asyncDispose]();
    await group.close();
  });
  return { daemon, warnings, join: (name = 'alice') => group.join('chat', name) };
}

/** Takes events as they come. */
function collect(membership: Membership): { events: GroupEvent[]; ended: Promise<void> } {
  const events: GroupEvent[] = [];
  const read = async (): Promise<void> => {
    for await (const event of membership) events.push(event);
  };
  return { events, ended: read() };
}

const base = { type: 'base', state: undefined };
const view = (count: number, cause: string, ids: string[], self: string, together: string[]): unknown => ({
  type: 'view',
  id: `1cc59726-6b013ed8-${count}`,
  cause,
  members: ids.map((id) => ({ id, name: id.split('#')[1] })),
  self,
  together,
});
const firstView = view(1, 'join', [alice], alice, [alice]);
const message = (sender: object, service: string, text: string): unknown => ({
  type: 'message',
  sender,
  service,
  body: Buffer.from(text),
});

describe('a member on a scripted daemon that says what a real one said', () => {
  it('sees, as alice, who comes, what is said and who goes', async () => {
    // Her messages to others only cannot be sent over the port.
    const script = aliceTranscript.filter((_, line) => line !== 13 && line !== 14);
    const { daemon, join } = await start([[...script, ...aliceLeaves]]);
    const membership = await join();
    const { events, ended } = collect(membership);
    await membership.multicast(Buffer.alloc(0));
    await eventually(() => events.length === 11);
    await membership.leave();
    await ended;
    expect(events).toEqual([
      base,
      firstView,
      view(2, 'join', [alice, bob], alice, [alice]),
      // "reliable" is less than the port has.
      message(bobMember, 'fifo', 'fifo'),
      message(bobMember, 'causal', 'causal'),
      message(bobMember, 'agreed', 'agreed'),
      message(bobMember, 'safe', 'safe'),
      message(aliceMember, 'agreed', ''),
      view(3, 'leave', [alice], alice, [alice]),
      view(4, 'join', [alice, bob], alice, [alice]),
      view(5, 'disconnect', [alice], alice, [alice]),
    ]);
    await daemon.played();
  });

  it('sees, as bob, his own messages in each service, and leaves', async () => {
    const script = bobTranscript
      // "reliable" cannot be sent over the port; after his leave the transcript's client went on in the same session.
      .filter((_, line) => line !== 8 && line !== 9 && line < 23)
      .map(withoutMessageType);
    const { daemon, join } = await start([[...script, expects(encodeKill(bob)), closes]]);
    const membership = await join('bob');
    const { events, ended } = collect(membership);
    for (const service of ['fifo', 'causal', 'agreed', 'safe'] as const)
      await membership.multicast(Buffer.from(service), service);
    await eventually(() => events.length === 8);
    await membership.leave();
    await ended;
    expect(events).toEqual([
      base,
      view(2, 'join', [alice, bob], bob, [bob]),
      message(bobMember, 'fifo', 'fifo'),
      message(bobMember, 'causal', 'causal'),
      message(bobMember, 'agreed', 'agreed'),
      message(bobMember, 'safe', 'safe'),
      message(aliceMember, 'agreed', 'not to me'),
      // The message to him alone is none to the group.
      message(aliceMember, 'agreed', ''),
    ]);
    await daemon.played();
  });

  it('is told whose name is taken, and the way out', async () => {
    const { daemon, join } = await start([[...duplicateName, closes]]);
    await expect(join()).rejects.toThrow(/refused "alice" \(code -6\): it has a client of this name.*choose another/);
    await expect(join()).rejects.toThrow(/it closed the connection|ECONNRESET/);
    await daemon.played();
  });

  it('does not even ask for names that are illegal', async () => {
    const { daemon, join } = await start([]);
    for (const name of ['a#b', 'a b', '']) await expect(join(name)).rejects.toThrow(RangeError);
    expect(daemon.connections).toBe(0);
  });

  it.each([
    [-5, 'the name is illegal'],
    [-3, 'as many clients as it takes'],
    [-7, 'it takes no client of version 5.0.1'],
    [-100, 'its code is unknown'],
  ])('is told what code %i means', async (code, meaning) => {
    const { join } = await start([[expects(encodeHello('alice')), sends(Buffer.from([code & 0xff]))]]);
    await expect(join()).rejects.toThrow(meaning);
  });

  it('is told when its authentication is not wanted, before or after it', async () => {
    const greeting = expects(encodeHello('alice'));
    const { join } = await start([
      [greeting, sends(Buffer.from('\x03PAM', 'latin1'))],
      [...aliceTranscript.slice(0, 3), sends(Buffer.from([0xf7]))],
    ]);
    await expect(join()).rejects.toThrow('wants authentication by PAM: let it take NULL too');
    await expect(join()).rejects.toThrow('(code -9): the authentication failed');
  });
});

describe('a member', () => {
  it('gets a new base, and its next multicasts through, after a cut in the middle of a message', async () => {
    const said = multicast(alice, 'one');
    const { daemon, join, warnings } = await start([
      [...aliceJoins, expects(said), sends(said.subarray(0, 60)), cuts],
      [...aliceJoins, bobComes, expects(multicast(alice, 'two')), sends(multicast(alice, 'two')), ...aliceLeaves],
    ]);
    const membership = await join();
    const { events, ended } = collect(membership);
    await expect(membership.multicast(Buffer.from('one'))).rejects.toThrow(IndefiniteError);
    await membership.multicast(Buffer.from('two'));
    await membership.leave();
    await ended;
    expect(events).toEqual([
      ...[base, firstView],
      ...[base, firstView, view(2, 'join', [alice, bob], alice, [alice]), message(aliceMember, 'agreed', 'two')],
    ]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(
      /^lost the place in the group: the Spread daemon at 127\.0\.0\.1:\d+: (.*ECONNRESET|it closed .*)$/,
    );
    await daemon.played();
  });

  it('goes on trying, when it comes back, while the daemon still has its last session', async () => {
    const { daemon, join, warnings } = await start([
      [...aliceJoins, cuts],
      [...duplicateName, closes],
      [...duplicateName, closes],
      [...aliceJoins, ...aliceLeaves],
    ]);
    const membership = await join();
    const { events } = collect(membership);
    await eventually(() => events.length === 4);
    await membership.leave();
    expect(events).toEqual([base, firstView, base, firstView]);
    expect(warnings.filter((warning) => warning.startsWith('waiting for the Spread daemon:'))).toHaveLength(2);
    await daemon.played();
  });

  it.each([
    [
      'garbage',
      Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
      /names 1852273768 groups/,
    ],
    ['a number of groups that cannot be', hugeLength(36), /names 4294967295 groups/],
    ['a length of data that cannot be', hugeLength(44), /has 4294967295 bytes of data/],
    ['a message of its own that it has not sent', multicast(alice, 'forged'), /came back that is not in flight/],
    ['a view that lacks it', withBobFor(aliceJoins[6]!.bytes), /the view 1cc59726-6b013ed8-1 does not have its receiver/],
    ['a confirmation of a leave that it has not asked for', left.bytes, /a leave that was not asked for/],
  ])('leaves a daemon that sends %s, and begins anew', async (_, bytes, reason) => {
    const { daemon, join, warnings } = await start([
      [...aliceJoins, sends(bytes)],
      [...aliceJoins, ...aliceLeaves],
    ]);
    const membership = await join();
    const { events } = collect(membership);
    await eventually(() => events.filter(({ type }) => type === 'base').length === 2);
    await membership.leave();
    expect(warnings[0]).toMatch(reason);
    await daemon.played();
  });

  it('gives up a daemon that keeps a multicast for too long, and not one that is only idle', async () => {
    const clock = new FakeClock();
    const heard = multicast(alice, 'heard');
    const { daemon, join } = await start(
      [
        [...aliceJoins, expects(heard), sends(heard), expects(multicast(alice, 'hello?'))],
        [...aliceJoins, ...aliceLeaves],
      ],
      { clock },
    );
    const membership = await join();
    const { events } = collect(membership);
    await membership.multicast(Buffer.from('heard'));
    clock.advance(1_000_000);
    const sent = membership.multicast(Buffer.from('hello?'));
    clock.advance(29_999);
    expect(daemon.openConnections).toBe(1);
    clock.advance(1);
    await expect(sent).rejects.toThrow(/^the session with Spread was lost .* owed "alice" an answer for 30000 ms$/);
    await eventually(() => {
      clock.advance(100);
      return events.length === 5;
    });
    await membership.leave();
    await daemon.played();
  });

  it('gives up a daemon that takes a join and shows no view', async () => {
    const clock = new FakeClock();
    const { daemon, join } = await start([aliceJoins.slice(0, 6), [...aliceJoins, ...aliceLeaves]], { clock });
    const membership = await join();
    const { events } = collect(membership);
    clock.advance(30_000);
    await eventually(() => {
      clock.advance(100);
      return events.length === 2;
    });
    await membership.leave();
    await daemon.played();
  });

  it('cannot join a daemon that is silent, refuses connections, or does not exist', async () => {
    const clock = new FakeClock();
    const silent = await start([[expects(encodeHello('alice'))]], { clock, connectTimeoutMs: 700 });
    const joining = silent.join();
    await silent.daemon.played();
    clock.advance(700);
    await expect(joining).rejects.toThrow(/^the Spread daemon at 127\.0\.0\.1:\d+: no session within 700 ms$/);

    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const refused = makeSpreadGroup({ daemon: `127.0.0.1:${port}` });
    await expect(refused.join('chat', 'alice')).rejects.toThrow(`the Spread daemon at 127.0.0.1:${port}: connect ECONNREFUSED`);
  });

  it('that reads too slowly loses its place, and gets it back when it has read all', { timeout: 60_000 }, async () => {
    const long = multicast(bob, 'x'.repeat(100_000));
    const flood = Buffer.concat(Array.from({ length: 700 }, () => long));
    const { daemon, join, warnings } = await start([
      [...aliceJoins, bobComes, sends(flood)],
      [...aliceJoins, bobComes, ...aliceLeaves],
    ]);
    const membership = await join();
    await eventually(() => daemon.openConnections === 0 && daemon.connections === 1);
    expect(warnings).toEqual(['lost the place in the group: the reader of "alice" is 67108864 bytes behind']);
    const { events } = collect(membership);
    await eventually(() => events.length === 3);
    await membership.leave();
    expect(events).toEqual([base, firstView, view(2, 'join', [alice, bob], alice, [alice])]);
    await daemon.played();
  });

  it('has 64 multicasts in flight, no more', async () => {
    const frames = Array.from({ length: 65 }, (_, number) => multicast(alice, `m${number}`, 'fifo'));
    const [first, ...rest] = frames;
    const { daemon, join } = await start([
      [
        ...aliceJoins,
        expects(...frames.slice(0, 64)),
        sends(bobFrame('now')),
        // Without the first one back the last one does not leave.
        sends(first!),
        expects(frames[64]!),
        sends(...rest),
        ...aliceLeaves,
      ],
    ]);
    const membership = await join();
    const { events } = collect(membership);
    await Promise.all(frames.map((_, number) => membership.multicast(Buffer.from(`m${number}`), 'fifo')));
    await membership.leave();
    const texts = events.flatMap((event) => (event.type === 'message' ? [String(event.body)] : []));
    expect(texts).toEqual(['now', ...frames.map((_, number) => `m${number}`)]);
    await daemon.played();
  });

  it('refuses a body that is too long, a service that is none, and all when it has left', async () => {
    const { daemon, join } = await start([[...aliceJoins, ...aliceLeaves]]);
    const membership = await join();
    await expect(membership.multicast(Buffer.alloc(100_001))).rejects.toThrow('the body has 100001 bytes; at most 100000');
    await expect(membership.multicast(Buffer.alloc(0), 'loud' as 'safe')).rejects.toThrow(
      'the service is "loud"; it must be one of fifo',
    );
    const { ended } = collect(membership);
    await Promise.all([membership.leave(), membership.leave()]);
    await ended;
    await expect(membership.multicast(Buffer.alloc(0))).rejects.toThrow('"alice" left "chat"');
    await daemon.played();
  });

  it('cannot tell, when it leaves, of a multicast that has not come back', async () => {
    const said = multicast(alice, 'lost?');
    const { daemon, join } = await start([[...aliceJoins, expects(said), ...aliceLeaves]]);
    const membership = await join();
    const { events } = collect(membership);
    await eventually(() => events.length === 2);
    const sent = expect(membership.multicast(Buffer.from('lost?'))).rejects.toThrow(IndefiniteError);
    await membership.leave();
    await sent;
    await daemon.played();
  });

  it('leaves a daemon that does not answer its leave, after a while', async () => {
    const clock = new FakeClock();
    const { join } = await start([aliceJoins], { clock });
    const membership = await join();
    const { ended } = collect(membership);
    let over = false;
    const leaving = membership.leave().then(() => (over = true));
    await eventually(() => {
      clock.advance(5_000);
      return over;
    });
    await Promise.all([leaving, ended]);
  });

  it('waits longer and longer for a daemon that is gone, at most 5 s, and less by chance', async () => {
    const delays: number[] = [];
    const connectTimeoutMs = 7_000;
    // Time is no matter: whoever waits goes on at once, but for the deadlines.
    const after = (delayMs: number, run: () => void): (() => void) => {
      if (delayMs >= connectTimeoutMs) return () => {};
      delays.push(delayMs);
      const immediate = setImmediate(run);
      return () => clearImmediate(immediate);
    };
    const joinsAndFails = [...aliceJoins, cuts];
    const scripts = [joinsAndFails, [cuts], [cuts], joinsAndFails];
    const { join } = await start(scripts, { clock: { after }, connectTimeoutMs, random: () => 0 });
    const membership = await join();
    await eventually(() => delays.length >= 11);
    await membership.leave();
    // It was back in between.
    expect(delays.slice(0, 11)).toEqual([50, 100, 200, ...[50, 100, 200, 400, 800, 1_600, 2_500, 2_500]]);
  });

  it('leaves while it has no daemon', async () => {
    const { join, daemon, warnings } = await start([[...aliceJoins, cuts]]);
    const membership = await join();
    const { ended } = collect(membership);
    await eventually(() => warnings.length >= 2);
    const unsent = expect(membership.multicast(Buffer.from('unsent'))).rejects.toThrow('"alice" left "chat"');
    await membership.leave();
    await Promise.all([unsent, ended]);
    const { connections } = daemon;
    await eventually(() => daemon.openConnections === 0);
    expect(daemon.connections).toBe(connections);
  });
});

describe('a group on Spread', () => {
  it('says at once which option is wrong', () => {
    expect(() => makeSpreadGroup({ daemon: 'localhost' })).toThrow('daemon is "localhost"; it must look like localhost:4803');
    expect(() => makeSpreadGroup({ daemon: 'localhost:99999' })).toThrow(RangeError);
    expect(() => makeSpreadGroup({ daemon: '[::1]:4803', replyTimeoutMs: 0 })).toThrow(
      'replyTimeoutMs is 0; it must be from 1 to',
    );
    expect(() => makeSpreadGroup({ daemon: '[::1]:4803', connectTimeoutMs: NaN })).toThrow('connectTimeoutMs is NaN');
  });

  it('leaves all groups when it is closed, even one that is only being joined, and takes no more joins', async () => {
    await using daemon = await startScriptedDaemon([...aliceJoins, ...aliceLeaves], [expects(encodeHello('bob'))]);
    const group = makeSpreadGroup({ daemon: daemon.address });
    const { ended } = collect(await group.join('chat', 'alice'));
    const joining = expect(group.join('chat', 'bob')).rejects.toThrow('"bob" left "chat"');
    await eventually(() => daemon.connections === 2);
    await Promise.all([group.close(), joining, ended]);
    await expect(group.join('chat', 'carol')).rejects.toThrow('this connection to Spread was closed');
    await eventually(() => daemon.openConnections === 0);
  });

  it('says after a change of the network who came through it together', async () => {
    const { daemon, join } = await start([[...aliceJoins, bobComes, sends(...networkChange), ...aliceLeaves]]);
    const membership = await join();
    const { events } = collect(membership);
    await eventually(() => events.length === 4);
    await membership.leave();
    expect(events[3]).toEqual(view(2, 'network', [alice, bob], alice, [alice]));
    await daemon.played();
  });

  it('keeps apart what the daemon says of other groups', async () => {
    const other = encodeMulticast({
      service: 'safe',
      selfDiscard: false,
      sender: bob,
      groups: ['news'],
      messageType: 0,
      body: Buffer.from('news'),
    });
    const otherView = Buffer.from(bobComes.bytes);
    otherView.write('news', 4);
    const both = encodeMulticast({
      service: 'safe',
      selfDiscard: false,
      sender: bob,
      groups: ['news', 'chat'],
      messageType: 0,
      body: Buffer.from('both'),
    });
    const { daemon, join } = await start([[...aliceJoins, sends(other, otherView, both), ...aliceLeaves]]);
    const membership = await join();
    const { events } = collect(membership);
    await eventually(() => events.length === 3);
    await membership.leave();
    expect(events).toEqual([base, firstView, message(bobMember, 'safe', 'both')]);
    await daemon.played();
  });
});

/** A transition, and a view with bob in a set of his own: bytes as the transcript has them for his join, but for the cause and the sets. */
const networkChange = ((): Buffer[] => {
  const { bytes } = bobComes;
  const transition = Buffer.from(bytes.subarray(0, 48));
  transition.writeUInt32LE(0x8000_2080, 0);
  transition.writeUInt32LE(0, 36);
  transition.writeUInt32LE(0, 44);
  const networkView = Buffer.concat([bytes.subarray(0, -32), Buffer.alloc(32), bytes.subarray(-36)]);
  networkView.writeUInt32LE(0x8000_1880, 0);
  networkView.writeUInt32LE(56 + 36, 44);
  const setsAt = 48 + 2 * 32 + 20;
  networkView.writeUInt32LE(2, setsAt - 8);
  networkView.write(alice, setsAt + 4);
  return [transition, networkView];
})();

const bobFrame = (text: string): Buffer => multicast(bob, text);

/** The same length, another member. */
function withBobFor(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('latin1').replaceAll(alice, bob.padEnd(alice.length, '\0')), 'latin1');
}

function hugeLength(at: number): Buffer {
  const bytes = multicast(bob, '');
  bytes.writeUInt32LE(0xffff_ffff, at);
  return bytes;
}
