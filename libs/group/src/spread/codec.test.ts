import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTranscript } from '../../test/spread/scripted-daemon.ts';
import {
  Decoder,
  encodeAuthentication,
  encodeHello,
  encodeJoin,
  encodeKill,
  encodeLeave,
  encodeMulticast,
  ProtocolError,
  type FromDaemon,
  type Multicast,
  type SpreadService,
} from './codec.ts';

const alice = '#alice#localhost';
const bob = '#bob#localhost';

function multicast(fields: Partial<Multicast> = {}): Multicast {
  const plain = {
    service: 'agreed',
    selfDiscard: false,
    sender: bob,
    groups: ['chat'],
    messageType: 0,
    body: Buffer.alloc(0),
  } as const;
  return { type: 'multicast', ...plain, ...fields };
}

/** What bob said in each service; he numbered the types of his messages as Spread does its services. */
const fromBob = (service: SpreadService, messageType: number): Multicast =>
  multicast({ service, messageType, body: Buffer.from(service) });

const fromAlice = {
  notToMe: multicast({ sender: alice, selfDiscard: true, body: Buffer.from('not to me') }),
  private: multicast({ sender: alice, groups: [bob], body: Buffer.from('private') }),
  empty: multicast({ sender: alice }),
};

function view(cause: 'join' | 'leave' | 'disconnect', count: number, members: string[], changed: string): FromDaemon {
  const groupId = [0x1cc59726, 0x6b013ed8, count] as const;
  return { type: 'membership', group: 'chat', cause, groupId, members, sets: [[changed]], ownSet: [changed] };
}

const methods: FromDaemon = { type: 'methods', methods: ['NULL'] };
const accepted = (privateName: string): FromDaemon => ({ type: 'accepted', version: '5.0.1', privateName });

function decode(pieces: readonly Buffer[]): FromDaemon[] {
  const decoder = new Decoder();
  const items: FromDaemon[] = [];
  for (const piece of pieces) decoder.push(piece, (item) => items.push(item));
  return items;
}

/** What comes before messages. */
const opening = Buffer.concat([Buffer.from('\x05NULL \x01\x05\x00\x01\x10', 'latin1'), Buffer.from(alice, 'latin1')]);
const decodeMessages = (...messages: readonly Buffer[]): FromDaemon[] => decode([opening, ...messages]).slice(2);

const linesOf = (name: string, type: 'expect' | 'send'): Buffer[] =>
  readTranscript(name).flatMap((step) => (step.type === type ? [step.bytes] : []));

describe('the transcripts of a real daemon', () => {
  it("have alice's bytes as this codec writes them, line by line", () => {
    expect(linesOf('alice', 'expect')).toEqual([
      encodeHello('alice'),
      encodeAuthentication('NULL'),
      encodeJoin(alice, 'chat'),
      encodeMulticast(fromAlice.notToMe),
      encodeMulticast(fromAlice.private),
      encodeMulticast(fromAlice.empty),
    ]);
  });

  it("have bob's bytes as this codec writes them, line by line", () => {
    expect(linesOf('bob', 'expect')).toEqual([
      encodeHello('bob'),
      encodeAuthentication('NULL'),
      encodeJoin(bob, 'chat'),
      encodeMulticast(fromBob('reliable', 0x2)),
      encodeMulticast(fromBob('fifo', 0x4)),
      encodeMulticast(fromBob('causal', 0x8)),
      encodeMulticast(fromBob('agreed', 0x10)),
      encodeMulticast(fromBob('safe', 0x20)),
      encodeLeave(bob, 'chat'),
      encodeJoin(bob, 'chat'),
      encodeKill(bob),
    ]);
  });

  it('tell alice who came, what was said and who went', () => {
    expect(decode(linesOf('alice', 'send'))).toEqual([
      methods,
      accepted(alice),
      view('join', 1, [alice], alice),
      view('join', 2, [alice, bob], bob),
      fromBob('reliable', 0x2),
      fromBob('fifo', 0x4),
      fromBob('causal', 0x8),
      fromBob('agreed', 0x10),
      fromBob('safe', 0x20),
      fromAlice.empty,
      view('leave', 3, [alice], bob),
      view('join', 4, [alice, bob], bob),
      view('disconnect', 5, [alice], bob),
    ]);
  });

  it('tell bob the same, what was for him alone, and that his leave is done', () => {
    expect(decode(linesOf('bob', 'send'))).toEqual([
      methods,
      accepted(bob),
      view('join', 2, [alice, bob], bob),
      fromBob('reliable', 0x2),
      fromBob('fifo', 0x4),
      fromBob('causal', 0x8),
      fromBob('agreed', 0x10),
      fromBob('safe', 0x20),
      fromAlice.notToMe,
      fromAlice.private,
      fromAlice.empty,
      { type: 'left', group: 'chat' },
      view('join', 4, [alice, bob], bob),
    ]);
  });

  it.each([
    ['duplicate-name', 'alice', -6],
    ['name-with-hash', 'a#b', -5],
    ['name-with-space', 'a b', -5],
  ])('refuse in %s', (name, clientName, code) => {
    expect(linesOf(name, 'expect')).toEqual([encodeHello(clientName)]);
    expect(decode(linesOf(name, 'send'))).toEqual([{ type: 'refused', code }]);
  });

  it('mean the same however they are cut', () => {
    const bytes = Buffer.concat(linesOf('alice', 'send'));
    const whole = decode([bytes]);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (places) => {
        const cuts = [0, ...places.toSorted((a, b) => a - b), bytes.length];
        expect(decode(cuts.slice(1).map((end, index) => bytes.subarray(cuts[index], end)))).toEqual(whole);
      }),
    );
    expect(decode(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)))).toEqual(whole);
  });

  it('are known to be cut in the middle of an item, wherever that is, and nowhere else', () => {
    const bytes = Buffer.concat(linesOf('bob', 'send'));
    const ends: number[] = [];
    const decoder = new Decoder();
    for (let at = 0; at < bytes.length; at++) {
      let emitted = false;
      decoder.push(bytes.subarray(at, at + 1), () => (emitted = true));
      expect(decoder.midItem).toBe(!emitted);
      if (emitted) ends.push(at);
    }
    expect(ends).toHaveLength(13);
    expect(ends.at(-1)).toBe(bytes.length - 1);
  });
});

const name = fc.stringMatching(/^[#A-Za-z0-9_.-]{1,31}$/);
const anyMulticast = fc.record({
  service: fc.constantFrom<SpreadService>('unreliable', 'reliable', 'fifo', 'causal', 'agreed', 'safe'),
  selfDiscard: fc.boolean(),
  sender: name,
  groups: fc.array(name, { maxLength: 4 }),
  messageType: fc.nat(0xffff),
  body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

/** The same message from a machine with the other byte order: all four numbers, and no mask. */
function byteSwapped(message: Buffer): Buffer {
  const swapped = Buffer.from(message);
  for (const at of [0, 40]) {
    swapped[at]! &= 0x7f;
    swapped[at + 3]! &= 0x7f;
  }
  for (const at of [0, 36, 40, 44]) swapped.subarray(at, at + 4).swap32();
  return swapped;
}

describe('a multicast', () => {
  it('is read as it was written, in either byte order', () => {
    fc.assert(
      fc.property(anyMulticast, (fields) => {
        const bytes = encodeMulticast(fields);
        const messages = decodeMessages(bytes, byteSwapped(bytes));
        expect(messages).toEqual([
          { type: 'multicast', ...fields },
          { type: 'multicast', ...fields },
        ]);
      }),
    );
  });

  it('keeps a message type that was written in another byte order than the rest', () => {
    const bytes = encodeMulticast(multicast({ messageType: 0x1234 }));
    byteSwapped(bytes).copy(bytes, 40, 40, 44);
    expect(decodeMessages(bytes)).toEqual([multicast({ messageType: 0x1234 })]);
  });

  it('has a body of its own, whatever becomes of the bytes it came in', () => {
    const bytes = encodeMulticast(multicast({ body: Buffer.from('kept') }));
    const [message] = decodeMessages(bytes);
    bytes.fill(0);
    expect(message).toEqual(multicast({ body: Buffer.from('kept') }));
  });

  it('takes the longest name, and none that is longer', () => {
    const longest = 'g'.repeat(31);
    expect(decodeMessages(encodeJoinAsSafe(longest))).toEqual([multicast({ service: 'safe', groups: [longest] })]);
    expect(() => encodeJoin(alice, 'g'.repeat(32))).toThrow('longer than the 31 bytes');
    expect(() => encodeHello('elevenbytes')).toThrow(`a client's name is 11 bytes long; Spread takes at most 10`);
    expect(() => encodeAuthentication('A', 'B', 'C', 'D')).toThrow('at most 3');
  });
});

const encodeJoinAsSafe = (group: string): Buffer => encodeMulticast(multicast({ service: 'safe', groups: [group] }));

/** A membership message in either byte order, with any sets. */
function membershipMessage(type: number, members: string[], sets: string[][], ownOffset: number, littleEndian = true): Buffer {
  const data = Buffer.alloc(20 + sets.reduce((bytes, set) => bytes + 4 + 32 * set.length, 0));
  const bytes = Buffer.alloc(48 + 32 * members.length);
  const write = (target: Buffer, value: number, at: number): void =>
    void (littleEndian ? target.writeUInt32LE(value, at) : target.writeUInt32BE(value, at));
  [7, 8, 9, sets.length, ownOffset].forEach((value, index) => write(data, value, index * 4));
  let at = 20;
  for (const set of sets) {
    write(data, set.length, at);
    set.forEach((member, index) => data.write(member, at + 4 + index * 32));
    at += 4 + set.length * 32;
  }
  write(bytes, littleEndian ? (type | 0x8000_0080) >>> 0 : type, 0);
  bytes.write('chat', 4);
  write(bytes, members.length, 36);
  write(bytes, data.length, 44);
  members.forEach((member, index) => bytes.write(member, 48 + index * 32));
  return Buffer.concat([bytes, data]);
}

describe('a membership message', () => {
  const members = ['#a#one', '#b#one', '#c#two', '#d#two'];
  const sets = [members.slice(0, 2), members.slice(2)];

  it.each([true, false])('tells after a change of the network who came together (little-endian: %s)', (littleEndian) => {
    const second = 4 + 2 * 32;
    expect(decodeMessages(membershipMessage(0x1800, members, sets, second, littleEndian))).toEqual([
      { type: 'membership', group: 'chat', cause: 'network', groupId: [7, 8, 9], members, sets, ownSet: sets[1] },
    ]);
  });

  it('before such a change is a transition, whatever its data', () => {
    expect(decodeMessages(membershipMessage(0x2000, [], [], 0))).toEqual([{ type: 'transition', group: 'chat' }]);
  });

  it('without a single cause, or whose sets do not fit, is an error that says so', () => {
    const broken = (change: (message: Buffer) => void): (() => unknown) => {
      const message = membershipMessage(0x1800, members, sets, 0);
      change(message);
      return () => decodeMessages(message);
    };
    const dataAt = 48 + 32 * 4;
    expect(broken((message) => message.writeUInt16LE(0x1380, 0))).toThrow('has the type 0x1300, which names no single cause');
    expect(broken((message) => message.writeUInt16LE(0x1080, 0))).toThrow('names no single cause');
    expect(broken((message) => message.writeUInt32LE(12, 44))).toThrow('has 12 bytes of data; it has at least 20');
    expect(broken((message) => message.writeUInt32LE(0xffff_ffff, dataAt + 12))).toThrow(
      'set 3 of 4294967295 of a membership message ends behind',
    );
    expect(broken((message) => message.writeUInt32LE(1, dataAt + 12))).toThrow('has 68 bytes behind its 1 sets');
    expect(broken((message) => message.writeUInt32LE(1, dataAt + 16))).toThrow(`receiver's own set begins at 1; none does`);
    expect(broken((message) => message.writeUInt32LE(0xffff_ffff, dataAt + 20))).toThrow(
      'set 1 of 2 of a membership message ends behind',
    );
  });
});

describe('bytes that are no Spread', () => {
  const header = (change: (message: Buffer) => void): (() => unknown) => {
    const message = encodeMulticast(multicast());
    change(message);
    return () => decodeMessages(message.subarray(0, 48));
  };

  it('are refused at the first length that cannot be, before anything is waited for', () => {
    expect(header((message) => message.writeUInt32LE(4097, 36))).toThrow('names 4097 groups; at most 4096 can be');
    expect(header((message) => message.writeUInt32LE(0xffff_ffff, 36))).toThrow(ProtocolError);
    expect(header((message) => message.writeUInt32LE(262_145, 44))).toThrow('has 262145 bytes of data; at most 262144 can be');
    expect(header((message) => message.writeUInt32LE(0xffff_ffff, 44))).toThrow(ProtocolError);
    expect(() => decode([Buffer.from('\x00\x01\x05\x00\x01\x20', 'latin1')])).toThrow(
      'a private name of 32 bytes; it has 1 to 31',
    );
    expect(() => decode([Buffer.from('\x00\x01\x05\x00\x01\x00', 'latin1')])).toThrow('a private name of 0 bytes');
  });

  it('are refused for a type, a mask or an answer that Spread does not have', () => {
    expect(header((message) => message.writeUInt32LE(0x8000_0080, 0))).not.toThrow();
    expect(() => decodeMessages(membershipMessage(0x300, [], [], 0))).toThrow(`has the type 0x300, which is none of Spread's`);
    expect(() => decodeMessages(membershipMessage(0x30, [], [], 0))).toThrow(`has the type 0x30, which is none of Spread's`);
    expect(header((message) => (message[3] = 0))).toThrow('begins with 90000000: the mask of its byte order is broken');
    expect(() => decode([Buffer.from('\x00\x02', 'latin1')])).toThrow('the daemon answered 2 to the authentication');
    expect(decode([Buffer.from('\x00\xf7', 'latin1')])).toEqual([
      { type: 'methods', methods: [] },
      { type: 'refused', code: -9 },
    ]);
  });

  it('give items or a ProtocolError, never anything else', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), (opened, garbage) => {
        const bytes = garbage.map((piece) => Buffer.from(piece));
        try {
          decode(opened ? [opening, ...bytes] : bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('give items or a ProtocolError for true messages with any byte changed', () => {
    const bytes = Buffer.concat(linesOf('alice', 'send'));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        try {
          decode([changed]);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
