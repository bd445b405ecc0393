/** The history of a database: one domain of global transaction ids, so that their sequence numbers count all transactions. Pure. */

/** Of a position such as `0-1-17`; 0 for an empty one. */
export function sequenceOf(position: string): number {
  if (position === '') return 0;
  const sequence = /^0-\d+-(\d+)$/.exec(position)?.[1];
  if (sequence === undefined) throw new Error(`"${position}" is not a position in a history of one domain, as 0-1-17`);
  return Number(sequence);
}

/** How many of the transactions that `mariadb-binlog -v` shows change more than the agents' own tables. */
export async function clientTransactions(
  lines: AsyncIterable<string> | Iterable<string>,
  agentsDatabase: string,
): Promise<number> {
  let transactions = 0;
  let counted = true;
  for await (const line of lines) {
    const begin = /^#.*\bGTID \d+-\d+-\d+( ddl)?/.exec(line);
    if (begin) counted = false;
    const database = /^#.*\bTable_map: `(\w+)`/.exec(line)?.[1];
    // Agents log no changes of tables themselves.
    const ofClient = begin?.[1] !== undefined || (database !== undefined && database !== agentsDatabase);
    if (counted || !ofClient) continue;
    transactions++;
    counted = true;
  }
  return transactions;
}

/** What of a history is wanted: all behind a transaction, up to a time. */
export interface Replay {
  /** Sequence number of the last transaction that is there; those up to it are left out. */
  readonly after: number;
  /** Seconds since 1970; transactions that were begun later are left out. */
  readonly untilSeconds: number;
}

/**
 * Of the lines that `mariadb-binlog` prints, those of the wanted transactions, once each, whichever of several logs they stand in; and what stands outside of
 * transactions. Throws where a transaction is missing. Times are of the log's own zone: run it with TZ=UTC.
 */
export class ReplayFilter {
  #last: number;
  #before = Infinity;
  readonly #untilSeconds: number;
  #passes = true;

  constructor({ after, untilSeconds }: Replay) {
    this.#last = after;
    this.#untilSeconds = untilSeconds;
  }

  /** Sequence number of the last transaction that passed. */
  get last(): number {
    return this.#last;
  }

  /** From now on only transactions before this one pass: the rest of the history stands in another log. */
  endBefore(sequence: number): void {
    this.#before = sequence;
  }

  /** The transaction that passed last came to no end: it is wanted once more. */
  takeBack(): void {
    this.#last--;
  }

  /** Whether a transaction begins with the line. */
  begins(line: string): boolean {
    return transactionLine.test(line);
  }

  passes(line: string): boolean {
    if (!line.startsWith('#')) return this.#passes;
    const transaction = transactionLine.exec(line);
    if (transaction !== null) this.#begin(transaction.slice(1).map(Number));
    // How to read what follows stands at the beginning of each file.
    else if (/^#.*\bStart: binlog v/.test(line)) this.#passes = true;
    return this.#passes;
  }

  #begin([year, month, day, hour, minute, second, sequence]: number[]): void {
    const seconds = Date.UTC(2000 + year!, month! - 1, day, hour, minute, second) / 1_000;
    this.#passes = sequence! > this.#last && sequence! < this.#before && seconds <= this.#untilSeconds;
    if (!this.#passes) return;
    if (sequence !== this.#last + 1) throw new Error(`the changes ${this.#last + 1} to ${sequence! - 1} are missing`);
    this.#last = sequence!;
  }
}

const transactionLine = /^#(\d\d)(\d\d)(\d\d) +(\d+):(\d\d):(\d\d) .*\bGTID 0-\d+-(\d+)/;
