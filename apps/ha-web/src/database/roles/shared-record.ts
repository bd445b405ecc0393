/** The record `database` and the list of databases, as this agent read them last. What ZooKeeper does not answer in time nobody knows. */
import { UnavailableError, type Discovery, type Instance, type RecordState } from '@lab/discovery';
import { inTime, type Clock } from '@lab/process';
import type { DatabaseRecord } from '../domain/next-step.ts';

/** ZooKeeper answers within milliseconds, after the loss of its leader within a second; what takes longer must not keep the agent from looking. */
const registryMs = 1_000;

interface Read {
  readonly state: RecordState | undefined;
  readonly databases: readonly Instance[];
}

export class SharedRecord {
  readonly #clock: Clock;
  #discovery: Discovery | undefined;
  #reading: Promise<Read> | undefined;
  #version: number | undefined;
  #databases: readonly Instance[] | undefined;
  #announced = false;
  /** The newest that this process has seen. */
  record: DatabaseRecord | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** From its first contact on: before, nothing is read. */
  connected(discovery: Discovery): void {
    this.#discovery = discovery;
  }

  /** Whether there was contact. What is read is taken here and nowhere else: a step is written over the record that it was decided on. */
  async read(): Promise<boolean> {
    if (this.#discovery === undefined) return false;
    this.#reading ??= this.#readBoth(this.#discovery).finally(() => (this.#reading = undefined));
    const read = await this.#answer(this.#reading);
    if (read === undefined) return false;
    this.record = read.state && (JSON.parse(read.state.text) as DatabaseRecord);
    this.#version = read.state?.version;
    this.#databases = read.databases;
    return true;
  }

  async #readBoth(discovery: Discovery): Promise<Read> {
    const [state, databases] = await Promise.all([discovery.record('database').read(), discovery.list('databases')]);
    return { state, databases };
  }

  /** Whether this agent wrote it. If nobody knows, the next look may tell; a write that arrives late fails at the next one's version. */
  async write(record: DatabaseRecord): Promise<boolean> {
    const version = await this.#answer(this.#discovery!.record('database').write(JSON.stringify(record), this.#version));
    if (version === undefined) return false;
    this.record = record;
    this.#version = version;
    return true;
  }

  /** Whether the record is as this agent knows it, and no earlier write is under way that may still change it. */
  rewrite(): Promise<boolean> {
    return this.write(this.record!);
  }

  /** Whether the list had this database when it was read last; so too as long as it never was. */
  isListed(name: string): boolean {
    return this.#databases?.some(({ endpoint }) => endpoint['name'] === name) ?? true;
  }

  /** Once, as soon as there is contact; `failed` is called where that must be tried again, which the next call does. */
  announce(endpoint: Readonly<Record<string, string | number>>, failed: (error: unknown) => void): void {
    if (this.#announced || this.#discovery === undefined) return;
    this.#announced = true;
    this.#discovery.announce('databases', endpoint).catch((error: unknown) => {
      this.#announced = false;
      failed(error);
    });
  }

  async close(): Promise<void> {
    await this.#discovery?.close();
  }

  /** What came, or `undefined`: nobody knows. */
  async #answer<T>(asked: Promise<T>): Promise<T | undefined> {
    try {
      return await inTime(this.#clock, registryMs, asked, () => new UnavailableError(`ZooKeeper: no answer in ${registryMs} ms`));
    } catch (error) {
      if (error instanceof UnavailableError) return undefined;
      throw error;
    }
  }
}
