/** What befalls one process of a simulation: it hangs, its network is cut, it dies. Everything that it hears or says passes here. */
import type { Announcement, Discovery, Leadership, MemoryRegistry, SharedRecord } from '@lab/discovery';
import type { Broker } from '@lab/middleware';
import type { FakeClock } from '@lab/testing';

/** What passes waits while it is shut. */
class Gate {
  #shut: PromiseWithResolvers<void> | undefined;
  get isShut(): boolean {
    return this.#shut !== undefined;
  }
  shut(): void {
    this.#shut ??= Promise.withResolvers();
  }
  open(): void {
    this.#shut?.resolve();
    this.#shut = undefined;
  }
  async through(): Promise<void> {
    while (this.#shut !== undefined) await this.#shut.promise;
  }
}

/** The calls by which a new log is begun, and the record moved to it. */
export type SwitchStep = 'declare' | 'append' | 'remove' | 'write' | 'written';

export interface FateOptions {
  readonly clock: FakeClock;
  readonly registry: MemoryRegistry;
  readonly broker: Broker;
  /** Called before each step of a switch, and after the last. */
  readonly onSwitchStep: (step: SwitchStep) => void;
}

export class Fate {
  readonly clock: { nowMs(): number; after: FakeClock['after']; every: FakeClock['every'] };
  readonly broker: Broker;
  readonly discovery: Discovery;
  isDead = false;
  readonly #options: FateOptions;
  readonly #connection: Discovery;
  /** The process runs. */
  readonly #life = new Gate();
  /** The broker can be reached. */
  readonly #cable = new Gate();
  #isRegistryCut = false;
  /** Timers that fell due while it hung; of an interval one. */
  readonly #late = new Set<() => void>();
  /** Its own log, between its declaration and its head. */
  #begun: string | undefined;

  constructor(options: FateOptions) {
    this.#options = options;
    this.#connection = options.registry.connect();
    this.clock = {
      nowMs: () => options.clock.nowMs(),
      after: (delayMs, run) => options.clock.after(delayMs, this.#whenAlive(run)),
      every: (intervalMs, run) => options.clock.every(intervalMs, this.#whenAlive(run)),
    };
    this.broker = this.#wrapBroker(options.broker);
    this.discovery = this.#wrapDiscovery(this.#connection);
  }

  get isHung(): boolean {
    return this.#life.isShut;
  }

  /** SIGKILL: what it has sent may arrive much later, see `land`. */
  kill(): void {
    this.isDead = true;
    this.#life.shut();
    this.#cable.shut();
    this.#late.clear();
    this.#options.registry.crash(this.#connection);
  }

  /** What a dead process had sent arrives. */
  land(): void {
    this.#cable.open();
  }

  /** SIGSTOP. */
  hang(): void {
    this.#life.shut();
    this.cut(true, true);
  }

  /** SIGCONT: all that it has missed comes at once, timers first. */
  thaw(): void {
    this.heal();
    const late = [...this.#late];
    this.#late.clear();
    for (const run of late) run();
    this.#life.open();
  }

  cut(broker: boolean, registry: boolean): void {
    if (broker) this.#cable.shut();
    if (registry && !this.#isRegistryCut) this.#options.registry.cut(this.#connection);
    this.#isRegistryCut ||= registry;
  }

  heal(): void {
    this.#cable.open();
    if (this.#isRegistryCut) this.#options.registry.heal(this.#connection);
    this.#isRegistryCut = false;
  }

  /** Resolves while the process runs. */
  alive(): Promise<void> {
    return this.#life.through();
  }

  #whenAlive(run: () => void): () => void {
    return () => {
      if (this.isDead) return;
      if (this.isHung) this.#late.add(run);
      else run();
    };
  }

  async #heard<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } finally {
      await this.#life.through();
    }
  }

  #hearing<T>(iterator: AsyncIterableIterator<T>, cable?: Gate): AsyncIterableIterator<T> {
    const next = async (): Promise<IteratorResult<T>> => {
      const result = await iterator.next();
      await cable?.through();
      await this.#life.through();
      return result;
    };
    return { next, return: () => iterator.return!(), [Symbol.asyncIterator]: () => this.#hearing(iterator, cable) };
  }

  #wrapBroker(broker: Broker): Broker {
    const call = async <T>(step: SwitchStep | undefined, run: () => Promise<T>): Promise<T> => {
      if (step !== undefined) this.#options.onSwitchStep(step);
      await this.#cable.through();
      return this.#heard(run());
    };
    return {
      ...{ features: broker.features, consume: broker.consume.bind(broker), publish: broker.publish.bind(broker) },
      declare: (topology) => {
        this.#begun = topology.logs?.[0]?.name;
        return call('declare', () => broker.declare(topology));
      },
      append: (log, body) => {
        const isHead = log === this.#begun;
        this.#begun = undefined;
        return call(isHead ? 'append' : undefined, () => broker.append(log, body));
      },
      remove: (what) => call('remove', () => broker.remove(what)),
      read: async (log, from) => this.#hearing(await call(undefined, () => broker.read(log, from)), this.#cable),
      close: () => broker.close(),
    };
  }

  #wrapDiscovery(discovery: Discovery): Discovery {
    return {
      announce: async (service, endpoint, { onRenewed } = {}) => {
        const renewed = (sequence: number): void => void this.#life.through().then(() => onRenewed?.(sequence));
        return this.#wrapAnnouncement(await this.#heard(discovery.announce(service, endpoint, { onRenewed: renewed })));
      },
      elect: async (role, name, options) => this.#wrapLeadership(await this.#heard(discovery.elect(role, name, options))),
      list: (service) => this.#heard(discovery.list(service)),
      watch: (service) => this.#hearing(discovery.watch(service)),
      record: (name) => this.#wrapRecord(discovery.record(name)),
      close: () => discovery.close(),
    };
  }

  #wrapAnnouncement(announcement: Announcement): Announcement {
    return {
      get sequence() {
        return announcement.sequence;
      },
      withdraw: () => this.#heard(announcement.withdraw()),
    };
  }

  #wrapLeadership(leadership: Leadership): Leadership {
    const { epoch, lost } = leadership;
    return { epoch, lost: this.#heard(lost), resign: () => this.#heard(leadership.resign()) };
  }

  #wrapRecord(record: SharedRecord): SharedRecord {
    return {
      read: () => this.#heard(record.read()),
      write: async (text, version) => {
        this.#options.onSwitchStep('write');
        const written = await this.#heard(record.write(text, version));
        this.#options.onSwitchStep('written');
        return this.#heard(Promise.resolve(written));
      },
      watch: () => this.#hearing(record.watch()),
    };
  }
}
