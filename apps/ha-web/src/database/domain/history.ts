/** The history of a database: one domain of global transaction ids, so that their sequence numbers count all transactions. Pure. */

/** What names a transaction: the server that wrote it first, and its place in the history. */
export interface Gtid {
  readonly server: number;
  readonly sequence: number;
}

/** Of a position such as `0-1-17`: its last transaction. Sequence 0 for an empty one. */
export function gtidOf(position: string): Gtid {
  if (position === '') return { server: 0, sequence: 0 };
  const [, server, sequence] = /^0-(\d+)-(\d+)$/.exec(position) ?? [];
  if (sequence === undefined) throw new Error(`"${position}" is not a position in a history of one domain, as 0-1-17`);
  return { server: Number(server), sequence: Number(sequence) };
}

/** Of a position such as `0-1-17`; 0 for an empty one. */
export function sequenceOf(position: string): number {
  return gtidOf(position).sequence;
}

/** Transactions without a gap between them that one server wrote, and the log where they stand. */
export interface Run {
  readonly server: number;
  readonly first: number;
  readonly last: number;
  readonly log: string;
}

/**
 * What is known of the history from logs that were fetched over several connections, each from whoever was the primary then. They overlap. Two rules:
 *
 * 1. *A connection is right in all that it holds.* What a primary had logged last when it was lost may be of no history; the next primary's log is.
 * 2. *What an earlier connection holds behind that stays, unless the two differ somewhere.* Where they agree the later one has only fetched less. Once they differ,
 *    all that the earlier one has from there on continues transactions that never were.
 *
 * They differ where another server wrote the transaction of the same number: the first transaction of each epoch is of its new primary, so that two histories
 * that part do so with such a pair.
 */
export class History {
  #runs: readonly Run[] = [];

  /** The next connection's runs, in their order. */
  add(connection: readonly Run[]): void {
    const [begin, end] = [connection[0]?.first, connection.at(-1)?.last];
    if (begin === undefined || end === undefined) return;
    const differs = connection.some((run) => this.#runs.some((own) => own.server !== run.server && overlap(own, run)));
    // Where already its first one differs, nobody knows since when: a gap before it says so.
    const known = this.#serverOf(begin) ?? connection[0]!.server;
    const before = cut(this.#runs, 1, known === connection[0]!.server ? begin - 1 : begin - 2);
    this.#runs = [...before, ...connection, ...(differs ? [] : cut(this.#runs, end + 1, Infinity))];
  }

  /** Sequence number of the last transaction; 0 where there is none. */
  get last(): number {
    return this.#runs.at(-1)?.last ?? 0;
  }

  has({ server, sequence }: Gtid): boolean {
    return this.#serverOf(sequence) === server;
  }

  /** Whether another transaction is known to stand in its place. */
  contradicts({ server, sequence }: Gtid): boolean {
    return (this.#serverOf(sequence) ?? server) !== server;
  }

  /** What is known behind a transaction, in order. There may be gaps. */
  behind(sequence: number): Run[] {
    return cut(this.#runs, sequence + 1, Infinity);
  }

  #serverOf(sequence: number): number | undefined {
    return this.#runs.find(({ first, last }) => first <= sequence && sequence <= last)?.server;
  }
}

const overlap = (a: Run, b: Run): boolean => a.first <= b.last && b.first <= a.last;

function cut(runs: readonly Run[], first: number, last: number): Run[] {
  return runs
    .map((run) => ({ ...run, first: Math.max(run.first, first), last: Math.min(run.last, last) }))
    .filter((run) => run.first <= run.last);
}
