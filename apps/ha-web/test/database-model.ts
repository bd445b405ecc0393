/**
 * Two machines with a database each, as MariaDB 10.11 behaves where it matters, tried on the real one: a commit under semi-sync is in the binary log before it waits; a
 * server that starts again has committed what waited, and has dropped what it had received and not applied; a replication whose two threads have
 * both stopped drops it, too, when it starts again. Each machine's agent is a process of the simulated world; faults strike where it calls its server or the registry.
 */
import { makeMemoryRegistry, type Discovery, type SharedRecord } from '@lab/discovery';
import { silentLogger, sleep, type Logger } from '@lab/process';
import { PromiseBroken, type KindName, type Life, type World } from '@lab/simulation';
import type { Random } from '@lab/testing';
import type { PeerStatus } from '../src/database/domain/timing.ts';
import type { Divergence, DatabaseServer, Door, Peer } from '../src/database/port.ts';
import { leaseMs, type ServerState } from '../src/database/domain/next-step.ts';
import { DatabaseAgent } from '../src/database/roles/db-agent.ts';

export type MachineName = 'db-1' | 'db-2';
export const names: readonly MachineName[] = ['db-1', 'db-2'];

/** A transaction: `id` tells it from all others, also from one of the same number on another machine. */
interface Transaction {
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

class ServerEnded extends Error {
  override readonly message = 'the server has ended';
}

/** One run of a server. */
export class Server {
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
  waiters: { readonly position: number; readonly done: () => void }[] = [];
  acknowledged = 0;
  readonly ended = Promise.withResolvers<never>();

  constructor(bootId: string, data: Data) {
    this.bootId = bootId;
    this.data = data;
    this.ended.promise.catch(() => undefined);
  }

  end(): void {
    this.alive = false;
    this.ended.reject(new ServerEnded());
  }

  get epoch(): number {
    return this.data.epochs.at(-1)?.epoch ?? 0;
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

/** Something that is so until a time. */
class Spell {
  readonly #clock: World['clock'];
  #untilMs = 0;

  constructor({ clock }: World) {
    this.#clock = clock;
  }

  begin(forMs: number): void {
    this.#untilMs = Math.max(this.#untilMs, this.#clock.nowMs() + forMs);
  }

  get leftMs(): number {
    return this.#untilMs - this.#clock.nowMs();
  }

  get on(): boolean {
    return this.leftMs > 0;
  }
}

/** What an agent does in each look is asked for faults now and then only: otherwise nothing would strike elsewhere. */
const routine: ReadonlySet<string> = new Set(['observe', 'read', 'list', 'close']);
const routineEvery = 5;

export class Machine {
  readonly name: MachineName;
  readonly #pair: Pair;
  data = emptyData();
  server: Server | undefined;
  agent: DatabaseAgent | undefined;
  doorOpen = false;
  readonly off: Spell;
  readonly paused: Spell;
  readonly cutFromRegistry: Spell;
  /** Otherwise many transactions a second. */
  readonly appliesSlowly: Spell;
  /** Takes the primary for dead, whatever it does. */
  readonly deceived: Spell;
  /** Rows that were written to a file before they were discarded. */
  readonly #saved = new Set<string>();
  #watchedMs = 0;
  #boots = 0;
  #routine = 0;
  /** The agent's session, and whether it has contact. */
  #session: { readonly life: Life; readonly discovery: Discovery; contact: boolean } | undefined;

  constructor(name: MachineName, pair: Pair) {
    this.name = name;
    this.#pair = pair;
    const { world } = pair;
    this.off = new Spell(world);
    this.paused = new Spell(world);
    this.cutFromRegistry = new Spell(world);
    this.appliesSlowly = new Spell(world);
    this.deceived = new Spell(world);
  }

  start(): void {
    const { world } = this.#pair;
    this.#startServer();
    world.start(this.name, (life) => this.#runAgent(life));
    world.clock.every(500, () => this.#watch());
  }

  get peer(): Machine {
    return this.#pair.machines[this.name === 'db-1' ? 'db-2' : 'db-1'];
  }

  /** It is there, runs, and a link of this kind is not cut. */
  get isHeard(): boolean {
    return !this.off.on && !this.paused.on && !this.#pair.linkCut.on;
  }

  switchOff(forMs: number): void {
    this.off.begin(forMs);
    this.killServer(forMs);
    this.#pair.world.life(this.name)?.die(forMs);
  }

  pause(forMs: number): void {
    this.paused.begin(forMs);
    this.#pair.world.life(this.name)?.pause(forMs);
  }

  killServer(backMs = this.#pair.random.integer(200, 1_500)): void {
    this.server?.end();
    this.server = undefined;
    this.doorOpen = false;
    this.#pair.world.clock.after(backMs, () => this.#startServer());
  }

  /** Its disk is another one when it starts again. */
  loseDisk(): void {
    this.data = emptyData();
    this.killServer();
  }

  #startServer(): void {
    if (!this.off.on) this.server ??= new Server(`${this.name}.${++this.#boots}`, this.data);
  }

  async #runAgent(life: Life): Promise<void> {
    const { registry, world } = this.#pair;
    const discovery = registry.connect();
    this.#session = { life, discovery, contact: true };
    life.onEnd(() => {
      registry.crash(discovery);
      this.agent = this.#session = undefined;
    });
    if (this.paused.on) life.pause(this.paused.leftMs);
    const { clock } = life;
    while (this.server === undefined) await sleep(clock, 50);
    const agent = new DatabaseAgent({
      name: this.name,
      peerName: this.peer.name,
      address: this.name,
      agentPort: 1,
      founder: this.name === 'db-1',
      discovery: Promise.resolve(this.#registrySeen(life, discovery)),
      server: this.#serverSeen(life, this.server),
      door: this.#door(life),
      peer: this.#peerSeen(),
      clock,
      log: tellerOf(life),
      nowMs: () => world.clock.nowMs(),
      before: [],
    });
    this.agent = agent;
    await agent.start();
    await agent.failed.catch((error: unknown) => {
      if (!(error instanceof ServerEnded)) this.#pair.fail('no program fails', String(error));
      throw error;
    });
  }

  /** Another process of this machine fences where the agent hangs. */
  #watch(): void {
    const lateMs = this.#pair.world.clock.nowMs() - this.#watchedMs;
    if (this.doorOpen && !this.paused.on && lateMs > leaseMs) this.killServer();
  }

  /** The agent calls. Here faults strike, those of the machine too. */
  #call<T>(life: Life, [operation, subject, message = '']: readonly string[], effect: (place: string) => Promise<T>): Promise<T> {
    if (routine.has(operation!) && ++this.#routine % routineEvery !== 0) return this.#callSafely(life, effect);
    return life.call(
      operation!,
      subject!,
      () => message,
      (place) => {
        this.#pair.strike(this, life, place, message);
        return effect(place);
      },
    );
  }

  async #callSafely<T>(life: Life, effect: (place: string) => Promise<T>): Promise<T> {
    await life.awake();
    const result = await effect('').catch(async (error: unknown) => {
      await life.awake();
      throw error;
    });
    await life.awake();
    return result;
  }

  /** Before an effect. */
  async #passTime(maxMs: number): Promise<void> {
    const { clock } = this.#pair.world;
    await sleep(clock, this.#pair.random.integer(0, maxMs));
    while (this.paused.on) await sleep(clock, this.paused.leftMs);
  }

  /** Keeps the contact to the registry as it should be: who stands still or is cut off has none. */
  keepContact(): void {
    const session = this.#session;
    if (session === undefined) return;
    const contact = !this.cutFromRegistry.on && !this.paused.on && !session.life.isPaused;
    if (contact === session.contact) return;
    session.contact = contact;
    this.#pair.registry[contact ? 'heal' : 'cut'](session.discovery);
  }

  /** Some writes are under way for long, and arrive even if whoever sent them is dead by then. */
  #registrySeen(life: Life, discovery: Discovery): Discovery {
    const { clock } = this.#pair.world;
    const { courier } = this.#pair;
    const record = (name: string): SharedRecord => {
      const real = discovery.record(name);
      return {
        read: () => this.#call(life, ['read', name], () => real.read()),
        watch: () => real.watch(),
        write: (text, version) =>
          this.#call(life, ['write', name, text], async (place) => {
            const lateMs = life.strikes('arrives late', place, text);
            if (lateMs === undefined || this.cutFromRegistry.on) return real.write(text, version);
            await sleep(clock, lateMs);
            return courier.record(name).write(text, version);
          }),
      };
    };
    return {
      announce: (...args) => this.#call(life, ['announce', args[0]], () => discovery.announce(...args)),
      list: (service) => this.#call(life, ['list', service], () => discovery.list(service)),
      watch: (service) => discovery.watch(service),
      elect: (...args) => discovery.elect(...args),
      record,
      close: () => discovery.close(),
    };
  }

  #serverSeen(life: Life, server: Server): DatabaseServer {
    const statement = <T>(name: string, effect: () => T | Promise<T>): Promise<T> =>
      this.#call(life, [name, 'mariadb'], async () => {
        await this.#passTime(30);
        if (!server.alive || life.isDead) throw new ServerEnded();
        const result = await effect();
        if (!server.alive) throw new ServerEnded();
        return result;
      });
    return {
      ended: server.ended.promise,
      observe: () => statement('observe', () => stateOf(server)),
      mark: () =>
        statement('mark', async () => {
          const [before, on] = [server.connectedReplica, server.semiSync];
          await server.commit({ id: this.#pair.newId(), ofClient: false });
          return on && server.semiSync && server.connectedReplica === before ? before : undefined;
        }),
      setSemiSync: (on) => statement('setSemiSync', () => server.setSemiSync(on)),
      beginEpoch: (epoch) =>
        statement('beginEpoch', () => {
          if (server.data.epochs.some((each) => each.epoch === epoch)) return;
          server.data.epochs.push({ epoch, position: server.data.log.length });
          return server.commit({ id: `epoch ${epoch} ${this.#pair.newId()}`, ofClient: false });
        }),
      setWritable: () => statement('setWritable', () => void (server.writable = true)),
      divergence: (epoch) => statement('divergence', () => this.#divergence(server, epoch)),
      saveDivergence: ({ common }) =>
        statement('saveDivergence', () => {
          const saved = server.data.log.slice(Number(common)).filter(({ ofClient }) => ofClient);
          for (const { id } of saved) this.#saved.add(id);
          return { transactions: saved.length, file: 'model' };
        }),
      follow: () =>
        statement('follow', () => {
          if (server.started) this.#pair.fail('A server replicates once in its life', `${server.bootId} has followed twice`);
          server.data.configured = server.started = server.receiving = server.applying = true;
        }),
      stopReceiving: () => statement('stopReceiving', () => void (server.receiving = false)),
      receive: () =>
        statement('receive', () => {
          if (!server.applying) server.relay = [];
          server.receiving = true;
        }),
      leaveReplication: () =>
        statement('leaveReplication', () => {
          server.data.configured = server.started = server.receiving = server.applying = false;
          server.relay = [];
        }),
      load: () => statement('load', () => this.#load(server)),
      keep: () => statement('keep', () => void (server.data.empty = false)),
      discard: () => statement('discard', () => this.#discard()),
      kill: () => statement('kill', () => this.killServer()),
      close: () => undefined,
    };
  }

  #load({ data }: Server): void {
    const from = this.peer.server;
    if (from === undefined || !this.peer.isHeard) throw new ServerEnded();
    Object.assign(data, copyOf(from.data), { configured: false, empty: false });
    data.log.length -= from.waiters.length;
  }

  /** What a client may have been told of, or hopes for, is on the other machine or in a file. */
  #discard(): void {
    const there = new Set([...this.peer.data.log.map(({ id }) => id), ...this.#saved]);
    const gone = this.data.log.filter(({ id, ofClient }) => ofClient && !there.has(id));
    if (gone.length > 0) this.#pair.fail('Nothing is discarded that nobody else has', `${this.name}: ${gone.length} rows`);
    this.data = emptyData();
  }

  #divergence({ data }: Server, epoch: number): Divergence | 'none' | 'unknown' {
    const primary = this.peer.server;
    if (primary === undefined || !this.peer.isHeard) return 'unknown';
    if (!primary.data.epochs.some((each) => each.epoch === epoch)) return 'unknown';
    const last = data.epochs.at(-1)?.epoch ?? 0;
    const next = primary.data.epochs.find(({ epoch }) => epoch > last);
    if (next === undefined || data.log.length <= next.position) return 'none';
    return { common: String(next.position), last: String(data.log.length) };
  }

  #door(life: Life): Door {
    const set = (operation: string, open: boolean): Promise<void> =>
      this.#call(life, [operation, 'door'], async () => {
        await this.#passTime(5);
        if (!life.isDead && (!open || this.server?.writable)) this.doorOpen = open;
      });
    return {
      open: () => (this.doorOpen ? Promise.resolve() : set('open', true)),
      close: () => set('close', false),
      watched: async () => {
        if (!life.isDead) this.#watchedMs = this.#pair.world.clock.nowMs();
      },
    };
  }

  #peerSeen(): Peer {
    return {
      missed: async () => this.deceived.on || !this.peer.isHeard || this.#pair.heartbeatCut.on,
      status: () => (this.peer.isHeard ? this.#statusOfPeer() : undefined),
    };
  }

  #statusOfPeer(): PeerStatus | undefined {
    const status = this.peer.agent?.status();
    return status && { bootId: status.bootId, lagMs: status.lagMs, position: status.position };
  }

  /** What replication does in a moment. */
  replicate(): void {
    const { server, peer } = this;
    const { random, world } = this.#pair;
    if (server === undefined || this.paused.on) return;
    const applies = server.applying && server.relay.length > 0 && !server.semiSync;
    if (applies && random.chance(this.appliesSlowly.on ? 0.01 : 0.7)) server.data.log.push(server.relay.shift()!);
    const primary = peer.server;
    const receives = primary !== undefined && peer.isHeard && server.receiving;
    if (primary && !peer.paused.on && !receives) primary.connectedReplica = undefined;
    if (!receives) return;
    primary.connectedReplica = server.bootId;
    if (!this.deceived.on) server.sign++;
    const mine = server.data.log.concat(server.relay);
    if (mine.some(({ id }, index) => primary.data.log[index]?.id !== id)) {
      [server.receiving, server.differs] = [false, true];
      return;
    }
    const next = primary.data.log[mine.length];
    if (next !== undefined) server.relay.push(next);
    const received = server.data.log.length + server.relay.length;
    const epochs = primary.data.epochs.filter(({ position }) => position < server.data.log.length);
    if (epochs.length > server.data.epochs.length) server.data.epochs = epochs;
    if (primary.waiters.length === 0) return;
    // An acknowledgement is on its way for some time, and arrives if nothing is cut.
    world.clock.after(random.integer(0, 20), () => {
      if (peer.isHeard && primary.alive) primary.acknowledge(received);
    });
  }
}

/** The agent's own words are the story of a failure. */
const tellerOf = (life: Life): Logger => ({
  ...silentLogger,
  info: (fields: unknown) => {
    const { event } = fields as { event?: string };
    if (event !== undefined) life.note(event);
  },
});

function stateOf(server: Server): ServerState {
  const { data, relay } = server;
  return {
    bootId: server.bootId,
    empty: data.empty,
    epoch: server.epoch,
    writable: server.writable,
    semiSync: server.semiSync,
    replicaBootId: server.connectedReplica,
    waiting: server.waiters.length,
    acknowledged: server.acknowledged,
    position: data.log.length,
    replication: data.configured
      ? {
          started: server.started,
          receiving: server.receiving,
          applying: server.applying,
          received: data.log.length + relay.length,
          applied: data.log.length,
          sign: String(server.sign),
          differs: server.differs,
        }
      : undefined,
  };
}

/** Faults of machines and of what is between them: what strikes one, for so long. */
const strikes = {
  'machine off': (machine, ms) => machine.switchOff(ms),
  'all machines off': (machine, ms) => [machine, machine.peer].forEach((each) => each.switchOff(ms)),
  'machine pauses': (machine, ms) => machine.pause(ms),
  'server dies': (machine, ms) => machine.killServer(ms),
  'applies slowly': (machine, ms) => machine.appliesSlowly.begin(ms),
  'stops applying': ({ server }) => server && (server.applying = false),
  'taken for dead': (machine, ms) => machine.peer.deceived.begin(ms),
  'cut from registry': (machine, ms) => machine.cutFromRegistry.begin(ms),
  'registry away': (machine, ms) => [machine, machine.peer].forEach((each) => each.cutFromRegistry.begin(ms)),
  'link cut': (_, ms, pair) => pair.linkCut.begin(ms),
  'heartbeats lost': (_, ms, pair) => pair.heartbeatCut.begin(ms),
  'cut off': (machine, ms, pair) => [machine.cutFromRegistry, pair.linkCut].forEach((each) => each.begin(ms)),
} satisfies Partial<Record<KindName, (machine: Machine, ms: number, pair: Pair) => void>>;

export const machineKinds = Object.keys(strikes) as (keyof typeof strikes)[];

/** The two of them, and what is between. */
export class Pair {
  readonly world: World;
  readonly random: Random;
  readonly registry;
  readonly machines: Readonly<Record<MachineName, Machine>>;
  /** Carries what is under way. */
  readonly courier: Discovery;
  /** Rejects with a promise that is broken. */
  readonly broken = Promise.withResolvers<never>();
  readonly linkCut: Spell;
  readonly heartbeatCut: Spell;
  #ids = 0;

  constructor(world: World) {
    this.world = world;
    this.random = world.random.fork('machines');
    this.registry = makeMemoryRegistry({ clock: world.clock, sessionTimeoutMs: 2_000 });
    this.courier = this.registry.connect();
    this.linkCut = new Spell(world);
    this.heartbeatCut = new Spell(world);
    this.machines = { 'db-1': new Machine('db-1', this), 'db-2': new Machine('db-2', this) };
    for (const machine of Object.values(this.machines)) machine.start();
    this.#tick();
  }

  #tick(): void {
    for (const machine of this.random.shuffle(Object.values(this.machines))) {
      machine.keepContact();
      machine.replicate();
    }
    this.world.clock.after(this.random.integer(2, 20), () => this.#tick());
  }

  newId(): string {
    return String(++this.#ids);
  }

  fail(promise: string, detail: string): void {
    this.broken.reject(new PromiseBroken(promise, detail));
  }

  /** Whatever of a machine's faults strikes here. */
  strike(machine: Machine, life: Life, place: string, message: string): void {
    for (const kind of machineKinds) {
      const ms = life.strikes(kind, place, message);
      if (ms !== undefined) strikes[kind](machine, ms, this);
    }
  }
}
