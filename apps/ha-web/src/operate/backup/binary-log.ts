/**
 * MariaDB's log of changes as a file: which transactions stand where. It is read as bytes, not as what `mariadb-binlog` prints: there a customer's text could
 * look like a transaction. The formats are those of https://mariadb.com/kb/en/2-binlog-event-header/ and https://mariadb.com/kb/en/gtid_event/.
 */
import { createReadStream } from 'node:fs';
import type { Gtid } from '../../database/domain/history.ts';

/** A whole one. */
export interface Transaction extends Gtid {
  /** When it was begun, in seconds since 1970, by the clock of the server that wrote it. */
  readonly seconds: number;
  /** Offsets in the file, of its first byte and behind its last. */
  readonly begin: number;
  readonly end: number;
}

/**
 * The whole transactions of a log, in portions, in their order. What is cut off at the end, as in a log that is being written, is left out; a transaction of a
 * table without transactions (not InnoDB) counts as whole only when another event follows.
 */
export async function* transactionsOf(file: string): AsyncGenerator<Transaction[]> {
  const reader = new LogReader();
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) yield reader.read(chunk as Buffer);
}

const chunkBytes = 1024 * 1024;
const magicBytes = 4;
const headerBytes = 19;
/** No row is longer than the server's `max-allowed-packet`, 16 MiB. A greater size is no size, but what a disk made of it. */
const eventBytesMax = 128 * 1024 * 1024;
const types = { query: 2, stop: 3, rotate: 4, xid: 16, checkpoint: 161, gtid: 162, queryCompressed: 165 };
/** Events between transactions. */
const between: readonly number[] = [types.stop, types.rotate, types.checkpoint, types.gtid];
/** Of a GTID event's flags: the transaction is one statement. */
const standaloneFlag = 1;

export class LogReader {
  /** What was not read of the last chunk, and where it stands in the file. */
  #rest: Buffer = Buffer.alloc(0);
  #offset = 0;
  #damaged = false;
  #open: (Omit<Transaction, 'end'> & { readonly standalone: boolean }) | undefined;

  /** The transactions that end in the next bytes of the file. None once it was found damaged. */
  read(chunk: Buffer): Transaction[] {
    if (this.#damaged) return [];
    const bytes = Buffer.concat([this.#rest, chunk]);
    const whole: Transaction[] = [];
    let at = Math.min(bytes.length, Math.max(0, magicBytes - this.#offset));
    while (bytes.length - at >= headerBytes) {
      const size = bytes.readUInt32LE(at + 9);
      // As the zeros that a loss of power leaves.
      this.#damaged = size < headerBytes || size > eventBytesMax;
      if (this.#damaged || bytes.length - at < size) break;
      const ended = this.#see(bytes.subarray(at, at + size), this.#offset + at);
      if (ended !== undefined) whole.push(ended);
      at += size;
    }
    this.#rest = bytes.subarray(at);
    this.#offset += at;
    return whole;
  }

  #see(event: Buffer, at: number): Transaction | undefined {
    const type = event.readUInt8(4);
    if (between.includes(type)) {
      const ended = this.#end(at);
      if (type === types.gtid) this.#open = begun(event, at);
      return ended;
    }
    const statement = type === types.query || type === types.queryCompressed;
    if (type === types.xid || (statement && this.#open?.standalone === true)) return this.#end(at + event.length);
    return undefined;
  }

  #end(end: number): Transaction | undefined {
    if (this.#open === undefined) return undefined;
    const { server, sequence, seconds, begin } = this.#open;
    this.#open = undefined;
    return { server, sequence, seconds, begin, end };
  }
}

function begun(event: Buffer, begin: number) {
  const domain = event.readUInt32LE(headerBytes + 8);
  if (domain !== 0) throw new Error(`a transaction of domain ${domain}: the history is to be of one domain, 0`);
  return {
    server: event.readUInt32LE(5),
    sequence: Number(event.readBigUInt64LE(headerBytes)),
    seconds: event.readUInt32LE(0),
    begin,
    standalone: (event.readUInt8(headerBytes + 12) & standaloneFlag) !== 0,
  };
}
