/**
 * A channel's publishes as bytes. amqplib encodes every message for itself, fills a buffer with zeros to copy its body into, and passes each frame through two
 * streams: at 64 KiB half of a publisher's time goes into buffers and their collection. Here all that is published in one turn of the event loop is written
 * into one buffer, but for large bodies, which are not copied at all, and goes to the socket in one call. What else is said on the channel goes amqplib's way,
 * in whole frames as this does: it is never between the frames of one message.
 */
import type { Socket } from 'node:net';
import type { ChannelModel, ConfirmChannel, Options } from 'amqplib';
import type { Headers } from '../port.ts';

type Confirm = NonNullable<Parameters<ConfirmChannel['publish']>[4]>;

/** What is used of amqplib beside its types, of the one version that is installed. */
interface Inner extends Omit<ConfirmChannel, 'connection'> {
  readonly ch: number;
  /** A function of its own, which throws, on a channel that closes. */
  readonly sendMessage: (...anything: unknown[]) => void;
  readonly connection: {
    readonly stream: Socket;
    readonly frameMax: number;
    readonly sendMessage: unknown;
    sentSinceLastCheck: boolean;
  };
  pushConfirmCallback(confirm: Confirm): void;
}

/** The connection, with confirm channels whose `publish` is that of this file: every message is persistent and mandatory. */
export function withOwnFrames(connection: ChannelModel): ChannelModel {
  const create = connection.createConfirmChannel.bind(connection);
  const createConfirmChannel = async (): Promise<ConfirmChannel> => {
    const channel = await create();
    const frames = new PublishFrames(channel as unknown as Inner);
    const publish: ConfirmChannel['publish'] = (exchange, routingKey, body, properties, confirm) =>
      frames.publish(exchange, routingKey, body, properties!, confirm!);
    return Object.assign(channel, { publish });
  };
  return Object.assign(connection, { createConfirmChannel });
}

/** Many small messages, or the frames around a large one. */
const chunkBytes = 64 * 1024;
/** Below this a copy costs less than a buffer more in the socket's list. */
const copiedBytesMax = 4 * 1024;
const textBytesMax = 255;
/** Frames and fields of fixed length, and three texts. */
const headBytesMax = 64 + 3 * textBytesMax;
const frameOverheadBytes = 8;
const frameEnd = 0xce;
const lastByte = Buffer.of(frameEnd);

const basic = 60;
const basicPublish = 40;
const mandatory = 1;
/** Which properties follow, from the highest bit on. */
const [hasHeaders, hasDeliveryMode, hasMessageId] = [0x2000, 0x1000, 0x0080];
const persistent = 2;

class PublishFrames {
  readonly #channel: Inner;
  readonly #sendMessage: [unknown, unknown];
  #chunk = Buffer.alloc(0);
  /** What was written to the socket ends here. */
  #sent = 0;
  #end = 0;
  #corked = false;

  constructor(channel: Inner) {
    this.#channel = channel;
    this.#sendMessage = [channel.sendMessage, channel.connection.sendMessage];
  }

  get #isOpen(): boolean {
    const { sendMessage, connection } = this.#channel;
    return sendMessage === this.#sendMessage[0] && connection.sendMessage === this.#sendMessage[1];
  }

  /** Throws as amqplib's where the channel closes, and a `RangeError` where a name is too long. */
  publish(exchange: string, routingKey: string, body: Buffer, properties: Options.Publish, confirm: Confirm): boolean {
    if (!this.#isOpen) this.#channel.sendMessage({}, {}, body);
    const { messageId = '' } = properties;
    const headers = properties.headers as Headers | undefined;
    for (const text of [exchange, routingKey, messageId]) checkLength(text);
    const table = headers === undefined ? undefined : encodeTable(headers);
    this.#begin(headBytesMax + (table?.length ?? 0) + Math.min(body.length, copiedBytesMax));
    this.#writeMethod(exchange, routingKey);
    this.#writeHeader(body.length, messageId, table);
    this.#writeBody(body);
    this.#channel.pushConfirmCallback(confirm);
    return true;
  }

  /** What is published in one turn goes out together. */
  #begin(bytes: number): void {
    const { stream } = this.#channel.connection;
    if (!this.#corked) {
      this.#corked = true;
      stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#flush();
        stream.uncork();
      });
    }
    this.#room(bytes);
  }

  #room(bytes: number): void {
    if (this.#chunk.length - this.#end >= bytes) return;
    this.#flush();
    this.#chunk = Buffer.allocUnsafeSlow(Math.max(bytes, chunkBytes));
    this.#sent = this.#end = 0;
  }

  /** On a channel that has closed nothing may be said any more: what it has not taken is published on another one. */
  #flush(): void {
    const bytes = this.#chunk.subarray(this.#sent, this.#end);
    this.#sent = this.#end;
    if (bytes.length > 0) this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    if (!this.#isOpen) return;
    const { connection } = this.#channel;
    connection.sentSinceLastCheck = true;
    connection.stream.write(bytes);
  }

  #writeMethod(exchange: string, routingKey: string): void {
    const start = this.#beginFrame(1);
    this.#writeShorts(basic, basicPublish, 0);
    this.#writeText(exchange);
    this.#writeText(routingKey);
    this.#chunk[this.#end++] = mandatory;
    this.#endFrame(start);
  }

  #writeHeader(bodyBytes: number, messageId: string, table: Buffer | undefined): void {
    const start = this.#beginFrame(2);
    this.#writeShorts(basic, 0);
    this.#end = this.#chunk.writeUInt32BE(0, this.#end);
    this.#end = this.#chunk.writeUInt32BE(bodyBytes, this.#end);
    this.#writeShorts(hasDeliveryMode | hasMessageId | (table === undefined ? 0 : hasHeaders));
    if (table !== undefined) this.#end += table.copy(this.#chunk, this.#end);
    this.#chunk[this.#end++] = persistent;
    this.#writeText(messageId);
    this.#endFrame(start);
  }

  #writeBody(body: Buffer): void {
    const most = this.#channel.connection.frameMax - frameOverheadBytes;
    for (let at = 0; at < body.length; at += most) {
      const part = body.length <= most ? body : body.subarray(at, at + most);
      this.#room(frameOverheadBytes + Math.min(part.length, copiedBytesMax));
      const start = this.#beginFrame(3);
      if (part.length <= copiedBytesMax) {
        this.#end += part.copy(this.#chunk, this.#end);
        this.#endFrame(start);
      } else {
        this.#chunk.writeUInt32BE(part.length, start - 4);
        this.#flush();
        this.#write(part);
        // At once: another channel may be next.
        this.#write(lastByte);
      }
    }
  }

  /** Returns where its payload begins; its length is written at the end. */
  #beginFrame(type: number): number {
    const chunk = this.#chunk;
    chunk[this.#end++] = type;
    this.#end = chunk.writeUInt16BE(this.#channel.ch, this.#end) + 4;
    return this.#end;
  }

  #endFrame(start: number): void {
    this.#chunk.writeUInt32BE(this.#end - start, start - 4);
    this.#chunk[this.#end++] = frameEnd;
  }

  #writeShorts(...numbers: number[]): void {
    for (const number of numbers) this.#end = this.#chunk.writeUInt16BE(number, this.#end);
  }

  #writeText(text: string): void {
    const bytes = this.#chunk.write(text, this.#end + 1);
    this.#chunk[this.#end] = bytes;
    this.#end += 1 + bytes;
  }
}

function checkLength(text: string): void {
  // In UTF-8 a letter takes three bytes at the most, or two of them four.
  if (text.length * 3 <= textBytesMax || Buffer.byteLength(text) <= textBytesMax) return;
  throw new RangeError(`"${text.slice(0, 20)}..." has more than ${textBytesMax} bytes, the most for a name or routing key`);
}

/** A header table, with its length. */
function encodeTable(headers: Headers): Buffer {
  const fields = Object.entries(headers).flatMap(([name, value]) => {
    checkLength(name);
    const key = Buffer.from(name);
    return [Buffer.of(key.length), key, encodeValue(value)];
  });
  const table = Buffer.concat([Buffer.alloc(4), ...fields]);
  table.writeUInt32BE(table.length - 4);
  return table;
}

function encodeValue(value: string | number | boolean): Buffer {
  if (typeof value === 'boolean') return Buffer.from(['t'.charCodeAt(0), value ? 1 : 0]);
  const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.alloc(8);
  const head = Buffer.alloc(typeof value === 'string' ? 5 : 1);
  if (typeof value === 'string') {
    head.write('S');
    head.writeUInt32BE(bytes.length, 1);
  } else if (Number.isSafeInteger(value)) {
    head.write('l');
    bytes.writeBigInt64BE(BigInt(value));
  } else {
    head.write('d');
    bytes.writeDoubleBE(value);
  }
  return Buffer.concat([head, bytes]);
}
