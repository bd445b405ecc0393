/**
 * What a client and a Spread daemon say to each other, as bytes, without a socket.
 *
 * A session begins with a hello and an authentication; then both sides send messages: a header of 48 bytes, names of 32 bytes each, data. Numbers in a message are
 * in the byte order of its writer, which the mask in its first word tells. Ours are little-endian, whatever the machine, so that the same bytes leave every one.
 */
import type { Cause } from '../port.ts';

/** In the first word and in the hint of a message whose numbers are little-endian, and not in others. Its bytes read the same both ways. */
const littleEndianMask = 0x8000_0080;

/** Bits of a message's type. */
const typeBits = {
  unreliable: 0x1,
  reliable: 0x2,
  fifo: 0x4,
  causal: 0x8,
  agreed: 0x10,
  safe: 0x20,
  selfDiscard: 0x40,
  causedByJoin: 0x100,
  causedByLeave: 0x200,
  causedByDisconnect: 0x400,
  causedByNetwork: 0x800,
  regularMembership: 0x1000,
  transition: 0x2000,
  join: 0x1_0000,
  leave: 0x2_0000,
  kill: 0x4_0000,
};

/** Spread's services, weakest first; two more than the port has. */
export type SpreadService = 'unreliable' | 'reliable' | 'fifo' | 'causal' | 'agreed' | 'safe';
const spreadServices: readonly SpreadService[] = ['unreliable', 'reliable', 'fifo', 'causal', 'agreed', 'safe'];
const serviceBits = 0x3f;

const causes: ReadonlyMap<number, Cause> = new Map([
  [typeBits.causedByJoin, 'join'],
  [typeBits.causedByLeave, 'leave'],
  [typeBits.causedByDisconnect, 'disconnect'],
  [typeBits.causedByNetwork, 'network'],
]);
const causeBits = 0xf00;

/** Longest name of a client, in bytes. */
export const clientNameBytesMax = 10;
/** Names in messages: of groups, and private ones of clients. Zeros follow, one at least. */
const nameBytes = 32;
const headerBytes = 48;
const methodBytes = 30;
/** Of one authentication, one after another. */
const methodsMax = 3;

/** A group of more members is not read, nor a message of more than 384 KiB in all: what is longer is broken. */
const groupsMax = 4096;
/** A daemon carries messages of about 140,000 bytes; the names in a membership message are no more than the groups may be. */
const dataBytesMax = 256 * 1024;

/** What came is no Spread, or broken: the session cannot be read on from here. */
export class ProtocolError extends Error {
  constructor(what: string) {
    super(what);
    this.name = new.target.name;
  }
}

/** One byte less than zero instead of a greeting or an acceptance; the daemon closes the connection. */
export interface Refused {
  readonly type: 'refused';
  readonly code: number;
}

/** The daemon's answer to the hello: how a client may prove who it is. */
export interface Methods {
  readonly type: 'methods';
  readonly methods: readonly string[];
}

export interface Accepted {
  readonly type: 'accepted';
  /** Of the daemon, `5.0.1`. */
  readonly version: string;
  /** `#name#daemon`: the sender of this client's messages, and a group of this client alone. */
  readonly privateName: string;
}

export interface Multicast {
  readonly type: 'multicast';
  readonly service: SpreadService;
  /** Not back to the sender. */
  readonly selfDiscard: boolean;
  /** A private name. */
  readonly sender: string;
  readonly groups: readonly string[];
  /** The application's own, 0 to 65,535. */
  readonly messageType: number;
  readonly body: Buffer;
}

/** A new view of a group. */
export interface RegularMembership {
  readonly type: 'membership';
  readonly group: string;
  readonly cause: Cause;
  /** The first two say which of the daemons' memberships, the third counts the group's views in it. */
  readonly groupId: readonly [number, number, number];
  /** Private names, in an order that is the same at every member; by daemon and name, as Spread's source has it, not by age. */
  readonly members: readonly string[];
  /** Virtual synchrony sets. On a join, leave or disconnect the only one names who came or went; on a network's change, each holds those that came together. */
  readonly sets: readonly (readonly string[])[];
  /** The receiver's, one of `sets`. */
  readonly ownSet: readonly string[];
}

/** What follows in this group, up to the next view, may be known to the receiver's own set alone. */
export interface Transition {
  readonly type: 'transition';
  readonly group: string;
}

/** The receiver's own leave is done. */
export interface Left {
  readonly type: 'left';
  readonly group: string;
}

export type FromDaemon = Refused | Methods | Accepted | Multicast | RegularMembership | Transition | Left;

/** The first bytes of a session: the version that this is, 5.0.1; the wish for membership messages; the name. */
export function encodeHello(clientName: string): Buffer {
  const name = Buffer.from(clientName, 'latin1');
  if (name.length > clientNameBytesMax)
    throw new RangeError(`a client's name is ${name.length} bytes long; Spread takes at most ${clientNameBytesMax}`);
  return Buffer.concat([Buffer.from([5, 0, 1, 1, name.length]), name]);
}

/** The methods that the client chooses, at most three. */
export function encodeAuthentication(...methods: readonly string[]): Buffer {
  if (methods.length > methodsMax)
    throw new RangeError(`${methods.length} authentication methods; Spread takes at most ${methodsMax}`);
  const bytes = Buffer.alloc(methodsMax * methodBytes);
  methods.forEach((method, index) => bytes.write(method, index * methodBytes, methodBytes - 1, 'latin1'));
  return bytes;
}

export function encodeJoin(sender: string, group: string): Buffer {
  return encodeMessage(typeBits.join, sender, [group]);
}

export function encodeLeave(sender: string, group: string): Buffer {
  return encodeMessage(typeBits.leave, sender, [group]);
}

/** Ends the session. */
export function encodeKill(sender: string): Buffer {
  return encodeMessage(typeBits.kill, sender, [sender]);
}

export function encodeMulticast(message: Omit<Multicast, 'type' | 'body'> & { readonly body: Uint8Array }): Buffer {
  const { service, selfDiscard, sender, groups, messageType, body } = message;
  return encodeMessage(typeBits[service] | (selfDiscard ? typeBits.selfDiscard : 0), sender, groups, messageType, body);
}

function encodeMessage(type: number, sender: string, groups: readonly string[], messageType = 0, body?: Uint8Array): Buffer {
  const dataAt = headerBytes + groups.length * nameBytes;
  const bytes = Buffer.alloc(dataAt + (body?.length ?? 0));
  bytes.writeUInt32LE((type | littleEndianMask) >>> 0, 0);
  writeName(bytes, sender, 4);
  bytes.writeUInt32LE(groups.length, 36);
  bytes.writeUInt32LE(((messageType << 8) | littleEndianMask) >>> 0, 40);
  bytes.writeUInt32LE(body?.length ?? 0, 44);
  groups.forEach((group, index) => writeName(bytes, group, headerBytes + index * nameBytes));
  if (body !== undefined) bytes.set(body, dataAt);
  return bytes;
}

function writeName(bytes: Buffer, name: string, at: number): void {
  if (name.length >= nameBytes)
    throw new RangeError(`the name "${name}" is longer than the ${nameBytes - 1} bytes that Spread takes`);
  bytes.write(name, at, 'latin1');
}

/** Asks for so many bytes, gets them, and in the end gives what they mean. */
type Parse<Item> = Generator<number, Item, Buffer>;

const nothing = Buffer.alloc(0);

/**
 * Reads what a daemon sends, from the greeting on, in whatever pieces it comes. It holds at most one incomplete message; every length that the wire names is checked
 * before a byte is waited for, and memory follows what has come.
 */
export class Decoder {
  #parse: Parse<FromDaemon> = parseGreeting();
  #wantedBytes = begin(this.#parse);
  #pieces: Buffer[] = [];
  #heldBytes = 0;
  #midItem = false;

  /** In the middle of an item: at least one of its bytes has come. */
  get midItem(): boolean {
    return this.#midItem || this.#heldBytes > 0;
  }

  /** Emits every item that is complete with this piece. Throws a `ProtocolError`, after the items before it; there is no reading on then. */
  push(piece: Buffer, emit: (item: FromDaemon) => void): void {
    this.#pieces.push(piece);
    this.#heldBytes += piece.length;
    if (this.#heldBytes < this.#wantedBytes) return;
    const bytes = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
    let at = 0;
    while (bytes.length - at >= this.#wantedBytes) {
      const end = at + this.#wantedBytes;
      this.#take(bytes.subarray(at, end), emit);
      at = end;
    }
    this.#pieces = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#heldBytes = bytes.length - at;
  }

  #take(bytes: Buffer, emit: (item: FromDaemon) => void): void {
    const step = this.#parse.next(bytes);
    if (!step.done) {
      this.#midItem = true;
      this.#wantedBytes = step.value;
      return;
    }
    this.#parse = step.value.type === 'methods' ? parseAcceptance() : parseMessage();
    this.#wantedBytes = begin(this.#parse);
    this.#midItem = false;
    emit(step.value);
  }
}

/** How many bytes it wants first. */
function begin(parse: Parse<FromDaemon>): number {
  const step = parse.next(nothing);
  return step.done ? 0 : step.value;
}

function* parseGreeting(): Parse<Methods | Refused> {
  const length = (yield 1).readInt8();
  if (length < 0) return { type: 'refused', code: length };
  const list = yield length;
  return { type: 'methods', methods: list.toString('latin1').split(' ').filter(Boolean) };
}

const acceptedCode = 1;

function* parseAcceptance(): Parse<Accepted | Refused> {
  const code = (yield 1).readInt8();
  if (code < 0) return { type: 'refused', code };
  if (code !== acceptedCode) throw new ProtocolError(`the daemon answered ${code} to the authentication; it is 1 or below 0`);
  const version = [...(yield 3)].join('.');
  const length = (yield 1).readUInt8();
  if (length === 0 || length >= nameBytes)
    throw new ProtocolError(`the daemon gave a private name of ${length} bytes; it has 1 to ${nameBytes - 1}`);
  const privateName = (yield length).toString('latin1');
  return { type: 'accepted', version, privateName };
}

/** The header, its numbers read. */
interface Header {
  readonly littleEndian: boolean;
  readonly type: number;
  readonly sender: string;
  readonly groupCount: number;
  readonly messageType: number;
  readonly dataBytes: number;
}

function* parseMessage(): Parse<FromDaemon> {
  const header = readHeader(yield headerBytes);
  const names = yield header.groupCount * nameBytes;
  const groups = Array.from({ length: header.groupCount }, (_, index) => readName(names, index * nameBytes));
  const data = yield header.dataBytes;
  return readMessage(header, groups, data);
}

function readHeader(bytes: Buffer): Header {
  const littleEndian = isLittleEndian(bytes);
  const groupCount = readNumber(bytes, 36, littleEndian);
  const dataBytes = readNumber(bytes, 44, littleEndian);
  if (groupCount > groupsMax)
    throw new ProtocolError(`a message from the daemon names ${groupCount} groups; at most ${groupsMax} can be`);
  if (dataBytes > dataBytesMax)
    throw new ProtocolError(`a message from the daemon has ${dataBytes} bytes of data; at most ${dataBytesMax} can be`);
  return {
    littleEndian,
    type: withoutMask(readNumber(bytes, 0, littleEndian)),
    sender: readName(bytes, 4),
    groupCount,
    // The daemon passes the hint on as the sender wrote it, which may be in another byte order, or broken.
    messageType: (withoutMask(readNumber(bytes, 40, maskOf(bytes, 40) === littleEndianMask)) >>> 8) & 0xffff,
    dataBytes,
  };
}

function readMessage(header: Header, groups: readonly string[], data: Buffer): FromDaemon {
  const { type, sender } = header;
  if (type & typeBits.regularMembership) return readMembership(header, groups, data);
  if (type & typeBits.transition) return { type: 'transition', group: sender };
  if (type === typeBits.causedByLeave) return { type: 'left', group: sender };
  return {
    type: 'multicast',
    service: serviceOf(type),
    selfDiscard: (type & typeBits.selfDiscard) !== 0,
    sender,
    groups,
    messageType: header.messageType,
    // A copy: who keeps a short body would otherwise keep the whole piece of the stream.
    body: Buffer.from(data),
  };
}

function serviceOf(type: number): SpreadService {
  const service = spreadServices.find((candidate) => typeBits[candidate] === (type & serviceBits));
  if (service === undefined || (type & ~(serviceBits | typeBits.selfDiscard)) !== 0)
    throw new ProtocolError(`a message from the daemon has the type 0x${type.toString(16)}, which is none of Spread's`);
  return service;
}

const groupIdBytes = 12;
/** Group id, number of sets, offset of the receiver's own. */
const setsAt = groupIdBytes + 8;

function readMembership(header: Header, members: readonly string[], data: Buffer): RegularMembership {
  const { type, sender: group, littleEndian } = header;
  const cause = causes.get(type & causeBits);
  if (cause === undefined || (type & ~(causeBits | typeBits.regularMembership)) !== 0)
    throw new ProtocolError(`a membership message has the type 0x${type.toString(16)}, which names no single cause`);
  if (data.length < setsAt)
    throw new ProtocolError(`a membership message has ${data.length} bytes of data; it has at least ${setsAt}`);
  const number = (at: number): number => readNumber(data, at, littleEndian);
  const groupId = [number(0), number(4), number(8)] as const;
  const sets = readSets(data, number(groupIdBytes), littleEndian);
  const ownOffset = number(groupIdBytes + 4);
  const ownSet = sets.get(ownOffset);
  if (ownSet === undefined)
    throw new ProtocolError(`a membership message says that the receiver's own set begins at ${ownOffset}; none does`);
  return { type: 'membership', group, cause, groupId, members, sets: [...sets.values()], ownSet };
}

/** The sets by their offsets from the first one, in bytes. The data ends with the last one. */
function readSets(data: Buffer, count: number, littleEndian: boolean): Map<number, string[]> {
  const sets = new Map<number, string[]>();
  let at = setsAt;
  for (let read = 0; read < count; read++) {
    const size = at + 4 <= data.length ? readNumber(data, at, littleEndian) : 0;
    const end = at + 4 + size * nameBytes;
    if (end > data.length) throw new ProtocolError(`set ${read + 1} of ${count} of a membership message ends behind its data`);
    const first = at + 4;
    sets.set(
      at - setsAt,
      Array.from({ length: size }, (_, index) => readName(data, first + index * nameBytes)),
    );
    at = end;
  }
  if (at !== data.length) throw new ProtocolError(`a membership message has ${data.length - at} bytes behind its ${count} sets`);
  return sets;
}

/** By the mask in a message's first word. One half of it alone is neither. */
function isLittleEndian(bytes: Buffer): boolean {
  const mask = maskOf(bytes, 0);
  if (mask !== 0 && mask !== littleEndianMask)
    throw new ProtocolError(
      `a message from the daemon begins with ${bytes.toString('hex', 0, 4)}: the mask of its byte order is broken`,
    );
  return mask !== 0;
}

function maskOf(bytes: Buffer, at: number): number {
  return (bytes.readUInt32BE(at) & littleEndianMask) >>> 0;
}

function withoutMask(word: number): number {
  return word & ~littleEndianMask;
}

function readNumber(bytes: Buffer, at: number, littleEndian: boolean): number {
  return littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}

/** Up to the first zero. */
function readName(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString('latin1', at, end === -1 ? at + nameBytes : Math.min(end, at + nameBytes));
}
