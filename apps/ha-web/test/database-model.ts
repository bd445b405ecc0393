/**
 * Two machines with a database each, as MariaDB 10.11 behaves where it matters, tried on the real one: a commit under semi-sync is in the binary log before it waits; a
 * server that starts again has committed what waited, and has dropped what it had received and not applied; a replication whose two threads have
 * both stopped drops it, too, when it starts again. Time is a FakeClock's, chance the seed's.
 */
import type { Discovery, MemoryRegistry, SharedRecord } from '@lab/discovery';
import { silentLogger, type Clock } from '@lab/process';
import type { FakeClock, Random } from '@lab/testing';
import type { PeerStatus } from '../src/database/domain/timing.ts';
import type { Divergence, DatabaseServer, Door, Peer } from '../src/database/port.ts';
import { leaseMs, type ServerState } from '../src/database/domain/next-step.ts';
import { DatabaseAgent } from '../src/database/roles/db-agent.ts';

export type MachineName = 'db-1' | 'db-2';

/** A transaction: `id` tells it from all others, also from one of the same number on another machine. */
export interface Transaction {
  readonly id: string;
  /** Of a client, or one of the agent's own. */
  readonly ofClient: boolean;
}

/** What a disk holds. */
interface Data {
  log: Transaction[];
  epochs: { epoch: number; position: number }[];
  configured: boolean;
  empty: boolean;
}

const emptyData = (): Data => ({ log: [], epochs: [], configured: false, empty: true });
const copyOf = ({ log, epochs, configured, empty }: Data): Data => ({ log: [...log], epochs: [...epochs], configured, empty });

interface Waiter {
  readonly position: number;
  readonly done: () => void;
}

/** One life of a server. */
export class Life {
  readonly bootId: string;
  readonly data: Data;
  alive = true;
  writable = false;
  semiSync = false;
  started = false;
  receiving = false;
  applying = false;
  differs = false;
  /** Received, not applied. */
  relay: Transaction[] = [];
  sign = 0;
  connectedReplica: string | undefined;
  waiters: Waiter[] = [];
  acknowledged = 0;
  readonly ended = Promise.withResolvers<never>();

  constructor(bootId: string, data: Data) {
    this.bootId = bootId;
    this.data = data;
    this.ended.promise.catch(() => undefined);
  }

  end(): void {
    if (!this.alive) return;
    this.alive = false;
    this.ended.reject(new Error('the server has ended'));
  }

  get received(): number {
    return this.data.log.length + this.relay.length;
  }

  /** Resolves when the client would be told OK; never, if the server ends first. */
  async commit(transaction: Transaction): Promise<void> {
    this.data.log.push(transaction);
    if (!this.semiSync) return;
    await new Promise<void>((done) => this.waiters.push({ position: this.data.log.length, done }));
  }

  acknowledge(position: number): void {
    if (!this.semiSync) return;
    const released = this.waiters.filter((waiter) => waiter.position <= position);
    this.waiters = this.waiters.filter((waiter) => waiter.position > position);
    this.acknowledged += released.length;
    for (const { done } of released) done();
  }

  setSemiSync(on: boolean): void {
    this.semiSync = on;
    if (on) return;
    for (const { done } of this.waiters) done();
    this.waiters = [];
  }
}

export class Machine {
  readonly name: MachineName;
  readonly #world: World;
  data = emptyData();
  life: Life | undefined;
  doorOpen = false;
  paused = false;
  /** Otherwise a transaction a second. */
  appliesFast = true;
  /** Takes the primary for dead, whatever it does. */
  deceived = false;
  on = false;
  agent: { agent: DatabaseAgent; discovery: Discovery; host: { dead: boolean } } | undefined;
  discards = 0;
  /** Transactions that were written to a file before they were discarded. */
  readonly saved = new Set<string>();
  #watchedMs = 0;
  #boots = 0;
  /** What stands still while the machine is paused. */
  #held: (() => void)[] = [];
  /** Of the machine's power: what was set in motion before it went off does not happen. */
  #session = 0;

  constructor(name: MachineName, world: World) {
    this.name = name;
    this.#world = world;
  }

  get peer(): Machine {
    return this.#world.machines[this.name === 'db-1' ? 'db-2' : 'db-1'];
  }

  powerOn(): void {
    if (this.on) return;
    this.on = true;
    this.#startServer();
    this.#startAgent();
    this.#watchdog();
  }

  powerOff(): void {
    this.on = false;
    this.#session++;
    this.paused = false;
    this.#held = [];
    this.doorOpen = false;
    this.life?.end();
    this.life = undefined;
    this.#killAgent();
  }

  pause(): void {
    if (!this.on || this.paused) return;
    this.paused = true;
    if (this.agent) this.#world.registry.cut(this.agent.discovery);
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (this.agent && !this.#world.cutFromRegistry.has(this.name)) this.#world.registry.heal(this.agent.discovery);
    for (const run of this.#held.splice(0)) run();
  }

  cutFromRegistry(cut: boolean): void {
    if (!this.agent || this.paused) return;
    if (cut) this.#world.registry.cut(this.agent.discovery);
    else this.#world.registry.heal(this.agent.discovery);
  }

  killServer(): void {
    if (!this.life) return;
    this.life.end();
    this.life = undefined;
    this.doorOpen = false;
    this.after(this.#world.random.integer(200, 1_500), () => this.#startServer());
  }

  /** Its program is started again after a while. */
  killAgent(): void {
    if (this.#killAgent()) this.after(this.#world.random.integer(200, 1_000), () => this.#startAgent());
  }

  #killAgent(): boolean {
    if (!this.agent) return false;
    this.agent.host.dead = true;
    this.#world.registry.crash(this.agent.discovery);
    this.agent = undefined;
    return true;
  }

  #startServer(): void {
    if (!this.on || this.life) return;
    this.life = new Life(`${this.name}.${++this.#boots}`, this.data);
  }

  #startAgent(): void {
    if (!this.on || this.agent) return;
    const { life } = this;
    if (life === undefined) return void this.after(100, () => this.#startAgent());
    const discovery = this.#world.registry.connect();
    if (this.#world.cutFromRegistry.has(this.name)) this.#world.registry.cut(discovery);
    const host = { dead: false };
    const agent = new DatabaseAgent({
      name: this.name,
      peerName: this.peer.name,
      address: this.name,
      agentPort: 1,
      founder: this.name === 'db-1',
      discovery: Promise.resolve(this.#lateAtTimes(discovery)),
      server: this.#server(life, host),
      door: this.#door(host),
      peer: this.#peerSeen(),
      clock: this.#clock(host),
      log: silentLogger,
      nowMs: () => this.#world.clock.nowMs(),
      before: [],
    });
    this.agent = { agent, discovery, host };
    agent.failed.catch((error: unknown) => {
      if (host.dead) return;
      host.dead = true;
      if (!/^the server has ended$/.test((error as Error).message)) this.#world.problems.push(error as Error);
      this.agent = undefined;
      this.after(300, () => this.#startAgent());
    });
    void agent.start();
  }

  /** Some writes are under way for long, and arrive even if whoever sent them is dead by then. */
  #lateAtTimes(discovery: Discovery): Discovery {
    const { clock, random, courier } = this.#world;
    const record = (name: string): SharedRecord => {
      const real = discovery.record(name);
      const write: SharedRecord['write'] = async (text, version) => {
        if (random.chance(0.7) || this.#world.cutFromRegistry.has(this.name)) return real.write(text, version);
        await new Promise<void>((resolve) => clock.after(random.integer(0, 2_500), resolve));
        return courier.record(name).write(text, version);
      };
      return { read: () => real.read(), watch: () => real.watch(), write };
    };
    return {
      announce: (...args) => discovery.announce(...args),
      list: (service) => discovery.list(service),
      watch: (service) => discovery.watch(service),
      elect: (...args) => discovery.elect(...args),
      record,
      close: () => discovery.close(),
    };
  }

  #watchdog(): void {
    if (this.doorOpen && this.#world.clock.nowMs() - this.#watchedMs > leaseMs) this.killServer();
    this.after(500, () => this.#watchdog());
  }

  /** A timer of this machine. */
  after(delayMs: number, run: () => void): () => void {
    const session = this.#session;
    let cancelled = false;
    this.#world.clock.after(delayMs, () => {
      if (cancelled || session !== this.#session) return;
      if (this.paused) this.#held.push(() => !cancelled && run());
      else run();
    });
    return () => (cancelled = true);
  }

  #clock(host: { dead: boolean }): Clock {
    return {
      nowMs: () => this.#world.clock.nowMs(),
      after: (delayMs, run) => this.after(delayMs, () => !host.dead && run()),
      every: () => {
        throw new Error('an agent takes no intervals');
      },
    };
  }

  /** Takes effect somewhere in its time; an agent that was killed meanwhile does not hear of it. */
  async #statement<T>(life: Life, host: { dead: boolean }, effect: () => T | Promise<T>): Promise<T> {
    await this.passTime();
    if (!life.alive) throw new Error('the server has ended');
    if (host.dead) return new Promise<T>(() => undefined);
    const result = await effect();
    await this.passTime();
    if (host.dead) return new Promise<T>(() => undefined);
    if (!life.alive) throw new Error('the server has ended');
    return result;
  }

  /** On the model's clock, which costs nothing. */
  passTime(maxMs = 30): Promise<void> {
    return new Promise((resolve) => this.after(this.#world.random.integer(0, maxMs), resolve));
  }

  #server(life: Life, host: { dead: boolean }): DatabaseServer {
    const statement = <T>(effect: () => T | Promise<T>): Promise<T> => this.#statement(life, host, effect);
    return {
      ended: life.ended.promise,
      observe: () => statement(() => stateOf(life)),
      mark: () =>
        statement(async () => {
          const [before, on] = [life.connectedReplica, life.semiSync];
          await life.commit({ id: this.#world.newId(), ofClient: false });
          return on && life.semiSync && life.connectedReplica === before ? before : undefined;
        }),
      setSemiSync: (on) => statement(() => life.setSemiSync(on)),
      beginEpoch: (epoch) =>
        statement(() => {
          if (life.data.epochs.some((each) => each.epoch === epoch)) return;
          life.data.epochs.push({ epoch, position: life.data.log.length });
          return life.commit({ id: `epoch ${epoch} ${this.#world.newId()}`, ofClient: false });
        }),
      setWritable: () => statement(() => void (life.writable = true)),
      divergence: (epoch) => statement(() => this.#divergence(life, epoch)),
      saveDivergence: ({ common }) =>
        statement(() => {
          const saved = life.data.log.slice(Number(common));
          for (const { id } of saved) this.saved.add(id);
          return { transactions: saved.filter(({ ofClient }) => ofClient).length, file: 'model' };
        }),
      follow: () =>
        statement(() => {
          if (life.started) this.#world.problems.push(new Error('followed twice in one life'));
          life.data.configured = life.started = life.receiving = life.applying = true;
        }),
      stopReceiving: () => statement(() => void (life.receiving = false)),
      receive: () =>
        statement(() => {
          if (!life.applying) life.relay = [];
          life.receiving = true;
        }),
      leaveReplication: () =>
        statement(() => {
          life.data.configured = life.started = life.receiving = life.applying = false;
          life.relay = [];
        }),
      load: () =>
        statement(async () => {
          const from = this.peer.life;
          if (!from || !this.#world.linked || this.peer.paused) throw new Error('the server has ended');
          const waiting = from.waiters.length;
          Object.assign(life.data, copyOf(from.data), { configured: false, empty: false });
          life.data.log = life.data.log.slice(0, life.data.log.length - waiting);
        }),
      keep: () => statement(() => void (life.data.empty = false)),
      discard: () =>
        statement(() => {
          this.discards++;
          this.#complainOfUnsaved();
          this.data = emptyData();
        }),
      kill: () => statement(() => this.killServer()),
      close: () => undefined,
    };
  }

  #divergence(life: Life, epoch: number): Divergence | 'none' | 'unknown' {
    const primary = this.peer.life;
    if (!primary || this.peer.paused || !this.#world.linked) return 'unknown';
    if (!primary.data.epochs.some((each) => each.epoch === epoch)) return 'unknown';
    const last = life.data.epochs.at(-1)?.epoch ?? 0;
    const next = primary.data.epochs.find(({ epoch }) => epoch > last);
    if (next === undefined || life.data.log.length <= next.position) return 'none';
    return { common: String(next.position), last: String(life.data.log.length) };
  }

  /** What a client may have been told of, or hopes for, is on the other machine or in a file. */
  #complainOfUnsaved(): void {
    const there = new Set([...this.peer.data.log.map(({ id }) => id), ...this.saved]);
    const gone = this.data.log.filter(({ id, ofClient }) => ofClient && !there.has(id));
    if (gone.length > 0) this.#world.problems.push(new Error(`${this.name} discarded ${gone.length} rows that nobody else has`));
  }

  /** Its disk is another one when it starts again. */
  loseDisk(): void {
    this.killServer();
    this.data = emptyData();
  }

  #door(host: { dead: boolean }): Door {
    return {
      open: async () => {
        await this.passTime(5);
        if (!host.dead && this.life?.writable) this.doorOpen = true;
      },
      close: async () => {
        await this.passTime(5);
        if (!host.dead) this.doorOpen = false;
      },
      watched: async () => void (this.#watchedMs = this.#world.clock.nowMs()),
    };
  }

  #peerSeen(): Peer {
    return {
      missed: async () => this.deceived || !this.peer.on || this.peer.paused || !this.#world.linked || this.#world.vrrpCut,
      status: () => (this.peer.on && !this.peer.paused && this.#world.linked ? this.#statusOfPeer() : undefined),
    };
  }

  #statusOfPeer(): PeerStatus | undefined {
    const status = this.peer.agent?.agent.status();
    return status && { bootId: status.bootId, lagMs: status.lagMs, position: status.position };
  }

  /** What replication does in a moment. */
  replicate(): void {
    const { life } = this;
    if (!life || this.paused) return;
    if (life.applying && life.relay.length > 0 && !life.semiSync && this.#world.random.chance(this.appliesFast ? 0.7 : 0.01))
      life.data.log.push(life.relay.shift()!);
    const primary = this.peer.life;
    const linked = primary && this.#world.linked && !this.peer.paused;
    if (primary && !this.peer.paused && !(linked && life.receiving)) primary.connectedReplica = undefined;
    if (!linked || !life.receiving) return;
    primary.connectedReplica = life.bootId;
    if (!this.deceived) life.sign++;
    const mine = [...life.data.log, ...life.relay];
    if (mine.some(({ id }, index) => primary.data.log[index]?.id !== id)) {
      [life.receiving, life.differs] = [false, true];
      return;
    }
    const next = primary.data.log[mine.length];
    if (next !== undefined) this.#receive(life, next);
    const received = life.received;
    const epochs = primary.data.epochs.filter(({ position }) => position < life.data.log.length);
    if (epochs.length > life.data.epochs.length) life.data.epochs = epochs;
    // An acknowledgement is on its way for some time, and arrives if nothing is cut.
    this.#world.clock.after(this.#world.random.integer(0, 20), () => {
      if (this.#world.linked && !this.peer.paused && primary.alive) primary.acknowledge(received);
    });
  }

  #receive(life: Life, transaction: Transaction): void {
    life.relay.push(transaction);
  }
}

function stateOf(life: Life): ServerState {
  const { data, relay } = life;
  return {
    bootId: life.bootId,
    empty: data.empty,
    epoch: data.epochs.at(-1)?.epoch ?? 0,
    writable: life.writable,
    semiSync: life.semiSync,
    replicaBootId: life.connectedReplica,
    waiting: life.waiters.length,
    acknowledged: life.acknowledged,
    position: data.log.length,
    replication: data.configured
      ? {
          started: life.started,
          receiving: life.receiving,
          applying: life.applying,
          received: data.log.length + relay.length,
          applied: data.log.length,
          sign: String(life.sign),
          differs: life.differs,
        }
      : undefined,
  };
}

export class World {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly registry: MemoryRegistry;
  readonly machines: Readonly<Record<MachineName, Machine>>;
  /** Carries what is under way. */
  readonly courier: Discovery;
  readonly cutFromRegistry = new Set<MachineName>();
  /** What must not happen. */
  readonly problems: Error[] = [];
  /** Between the two machines. */
  linked = true;
  vrrpCut = false;
  #ids = 0;

  constructor(clock: FakeClock, random: Random, registry: MemoryRegistry) {
    this.clock = clock;
    this.random = random;
    this.registry = registry;
    this.courier = registry.connect();
    this.machines = { 'db-1': new Machine('db-1', this), 'db-2': new Machine('db-2', this) };
    const replicate = (): void => {
      for (const machine of random.shuffle(Object.values(this.machines))) machine.replicate();
      clock.after(random.integer(2, 20), replicate);
    };
    replicate();
  }

  newId(): string {
    return String(++this.#ids);
  }

  cut(name: MachineName, cut: boolean): void {
    if (cut) this.cutFromRegistry.add(name);
    else this.cutFromRegistry.delete(name);
    this.machines[name].cutFromRegistry(cut);
  }
}
