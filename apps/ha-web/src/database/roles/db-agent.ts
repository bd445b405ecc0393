/**
 * The agent of a database: looks, asks `nextStep`, does it, and looks again. Everything it knows it may lose: where it starts again it goes on from what it sees.
 * It belongs to one life of the server and fails with it; whoever runs it starts it again.
 */
import { UnavailableError, type Discovery, type Instance, type RecordState } from '@lab/discovery';
import type { Clock, Logger, Role } from '@lab/process';
import { takeoverMs, type AgentEvent, type AgentStatus } from '../agent-status.ts';
import type { DatabaseServer, Divergence, Door, Peer, PeerStatus } from '../port.ts';
import { nextStep, type DatabaseRecord, type ServerState, type Situation, type Step } from '../domain/next-step.ts';
import { Lag, Unchanged } from '../domain/timing.ts';

export interface AgentParts {
  readonly name: string;
  readonly peerName: string;
  /** What others find by the announcement. */
  readonly address: string;
  readonly agentPort: number;
  /** Becomes the first primary where there is none. */
  readonly founder: boolean;
  /** Resolves with the first contact; the agent works before. */
  readonly discovery: Promise<Discovery>;
  readonly server: DatabaseServer;
  readonly door: Door;
  readonly peer: Peer;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds since 1970, for events. */
  readonly nowMs: () => number;
  /** Events of earlier agents that are still to be seen. */
  readonly before: readonly AgentEvent[];
}

/** Between two looks while there is nothing to do: a fifth of the time in which the shortest silence must be noticed. */
const roundMs = 200;
/** A replica that is later than this would keep clients waiting after a takeover. */
const lagMsMax = 2_000;
/** Transactions that a replica catches up with within the primary's patience. */
const behindMax = 500;
const eventsMax = 50;
/** ZooKeeper answers within milliseconds, after the loss of its leader within a second; what takes longer must not keep the agent from looking. */
const registryMs = 1_000;

/** As an event tells it, behind the database's name. */
const stepWords: Readonly<Record<Step['do'], string>> = {
  wait: 'waits',
  serve: 'serves clients',
  fence: 'closes to clients',
  found: 'writes the first record',
  goAlone: 'goes on without a replica',
  turnSemiSyncOn: 'lets commits wait for the replica',
  mark: 'asks the replica to acknowledge',
  admit: 'records that its replica is in sync',
  open: 'opens to clients',
  follow: 'sets out to follow the primary',
  empty: 'sets out to be filled anew',
  load: 'sets out to copy the data of the primary',
  stopReceiving: 'stops receiving',
  receive: 'receives again',
  takeOver: 'records itself as the primary',
  leaveReplication: 'ends its life as a replica',
};

interface Read {
  readonly state: RecordState | undefined;
  readonly databases: readonly Instance[];
}

export class DatabaseAgent implements Role {
  readonly failed: Promise<never>;
  readonly #parts: AgentParts;
  readonly #failure = Promise.withResolvers<never>();
  readonly #lag = new Lag();
  readonly #quiet: Unchanged;
  readonly #waiting: Unchanged;
  readonly #acknowledged: Unchanged;
  #contactMs: number;
  #confirmedMs: number;
  #heardMs: number;
  #aloneMs: number;

  #discovery: Discovery | undefined;
  #record: DatabaseRecord | undefined;
  #version: number | undefined;
  #peerThere = true;
  #confirmed: string | undefined;
  #marking = false;
  #announced = false;
  #askedMs: number | undefined;
  #reading: Promise<Read | undefined> | undefined;

  #state: ServerState | undefined;
  #told = '';
  #events: readonly AgentEvent[];
  #stopped = false;
  #cancel: () => void = () => undefined;
  #round: Promise<boolean> = Promise.resolve(false);

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#events = parts.before;
    const nowMs = parts.clock.nowMs();
    [this.#quiet, this.#waiting, this.#acknowledged] = [new Unchanged(nowMs), new Unchanged(nowMs), new Unchanged(nowMs)];
    this.#contactMs = this.#confirmedMs = this.#heardMs = this.#aloneMs = nowMs;
    this.failed = this.#failure.promise;
    this.failed.catch(() => undefined);
  }

  async start(): Promise<void> {
    const fail = (error: unknown): void => this.#fail(error);
    this.#parts.server.ended.catch(fail);
    this.#parts.discovery.then((discovery) => (this.#discovery = discovery), fail);
    // Before the door is first opened.
    await this.#parts.door.watched();
    this.#lookAfter(0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#round.catch(() => undefined);
    this.#parts.server.close();
    await this.#discovery?.close();
  }

  status(): AgentStatus {
    const state = this.#state;
    const following = state?.replication?.applying === true && state.replication.receiving;
    return {
      name: this.#parts.name,
      role: state === undefined ? 'starting' : state.writable ? 'primary' : following ? 'replica' : 'fenced',
      epoch: this.#record?.epoch ?? 0,
      primary: this.#record?.primary,
      replicaInSync: this.#record?.replicaInSync ?? false,
      lagMs: following ? this.#lag.ms(state.replication.applied, this.#parts.clock.nowMs()) : undefined,
      position: state?.replication?.applied ?? state?.position,
      dataEpoch: state?.epoch ?? 0,
      readOnly: state?.writable !== true,
      bootId: state?.bootId,
      events: this.#events,
    };
  }

  /** Tries to take over from a primary that lives, for as long as who asks waits; where this one is not in sync nothing happens. */
  ask(): void {
    this.#askedMs = this.#parts.clock.nowMs();
  }

  #lookAfter(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#parts.clock.after(delayMs, () => {
      this.#round = this.#look();
      this.#round.then(
        (changed) => this.#lookAfter(changed ? 0 : roundMs),
        (error: unknown) => this.#fail(error),
      );
    });
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancel();
    // The announcement ends with the server: others wait for that.
    this.#discovery?.close().catch(() => undefined);
    this.#failure.reject(error);
  }

  /** Whether a step was done that asks for another look at once. */
  async #look(): Promise<boolean> {
    const contact = await this.#readRegistry();
    const [server, missed] = [await this.#parts.server.observe(), await this.#parts.peer.missed()];
    this.#state = server;
    const step = nextStep(this.#measure(server, contact, missed));
    this.#tell(step, server);
    if (!server.writable) await this.#parts.door.close();
    const changed = await this.#do(step);
    this.#announce(server);
    await this.#parts.door.watched();
    return changed;
  }

  /** Whether there was contact. What is read is taken here and nowhere else: a step is written over the record that it was decided on. */
  async #readRegistry(): Promise<boolean> {
    if (this.#discovery === undefined) return false;
    this.#reading ??= this.#read(this.#discovery).finally(() => (this.#reading = undefined));
    const read = await this.#inTime(this.#reading);
    if (read === undefined) return false;
    const { state, databases } = read;
    this.#record = state && (JSON.parse(state.text) as DatabaseRecord);
    this.#version = state?.version;
    this.#peerThere = databases.some(({ endpoint }) => endpoint['name'] === this.#parts.peerName);
    this.#contactMs = this.#parts.clock.nowMs();
    return true;
  }

  async #read(discovery: Discovery): Promise<Read | undefined> {
    try {
      const [state, databases] = await Promise.all([discovery.record('database').read(), discovery.list('databases')]);
      return { state, databases };
    } catch (error) {
      this.#unlessUnavailable(error);
      return undefined;
    }
  }

  /** What came, or `undefined`: nobody knows. */
  async #inTime<T>(asked: Promise<T>): Promise<T | undefined> {
    const late = Promise.withResolvers<undefined>();
    const cancel = this.#parts.clock.after(registryMs, () => late.resolve(undefined));
    try {
      return await Promise.race([asked, late.promise]);
    } finally {
      cancel();
    }
  }

  #measure(server: ServerState, contact: boolean, missed: boolean): Situation {
    const nowMs = this.#parts.clock.nowMs();
    const { replication } = server;
    const status = this.#parts.peer.status();
    if (replication !== undefined) this.#lag.see(replication.received, nowMs);
    if (!server.semiSync || this.#confirmed !== server.replicaBootId) this.#confirmed = undefined;
    if (this.#confirmed !== undefined) this.#confirmedMs = nowMs;
    const waitingMs = this.#waiting.ms(server.waiting === 0 ? undefined : server.acknowledged, nowMs);
    const acknowledgedMs = this.#acknowledged.ms(server.acknowledged, nowMs);
    if (status?.lagMs !== undefined && status.bootId === server.replicaBootId) this.#heardMs = nowMs;
    return {
      me: this.#parts.name,
      founder: this.#parts.founder,
      record: this.#record,
      contact,
      sinceContactMs: nowMs - this.#contactMs,
      asked: this.#askedMs !== undefined && nowMs - this.#askedMs < takeoverMs,
      peerMissed: missed || !this.#peerThere,
      server,
      quietMs: this.#quiet.ms(replication?.sign, nowMs),
      confirmed: this.#confirmed,
      unconfirmedMs: nowMs - this.#confirmedMs,
      waitingMs: server.waiting === 0 ? 0 : waitingMs,
      replicaSilentMs: Math.min(acknowledgedMs, nowMs - this.#heardMs),
      replicaFit: fitness(server, status),
      aloneMs: nowMs - this.#aloneMs,
    };
  }

  /** Whether it asks for another look at once. */
  async #do(step: Step): Promise<boolean> {
    const { server, door, name } = this.#parts;
    switch (step.do) {
      case 'wait':
        return false;
      case 'serve':
        await door.open();
        return false;
      case 'fence':
        return this.#fence();
      case 'found':
        await server.keep();
        return this.#write({ epoch: 1, primary: name, replicaInSync: false, replicaBootId: '' });
      case 'goAlone':
        return this.#goAlone();
      case 'turnSemiSyncOn':
        this.#confirmedMs = this.#parts.clock.nowMs();
        await server.setSemiSync(true);
        return true;
      case 'mark':
        this.#mark();
        return false;
      case 'admit':
        return this.#write({ ...this.#record!, replicaInSync: true, replicaBootId: step.bootId });
      case 'open':
        await server.setWritable();
        await door.open();
        return true;
      case 'follow':
        return this.#follow();
      case 'empty':
        return this.#empty();
      case 'load':
        await this.#load();
        return false;
      case 'stopReceiving':
        await server.stopReceiving();
        return true;
      case 'receive':
        if (await this.#rewrite()) await server.receive();
        return false;
      case 'takeOver':
        return this.#write({ epoch: this.#record!.epoch + 1, primary: name, replicaInSync: false, replicaBootId: '' });
      case 'leaveReplication':
        this.#askedMs = undefined;
        await server.leaveReplication();
        return true;
    }
  }

  async #goAlone(): Promise<boolean> {
    const { server, door, name } = this.#parts;
    const { epoch } = this.#record!;
    if (!(await this.#write({ ...this.#record!, replicaInSync: false, replicaBootId: '' }))) return false;
    this.#aloneMs = this.#parts.clock.nowMs();
    await server.setSemiSync(false);
    await server.beginEpoch(epoch, name);
    await server.setWritable();
    await door.open();
    return true;
  }

  async #fence(): Promise<boolean> {
    await this.#parts.door.close();
    await this.#parts.server.kill();
    return false;
  }

  async #follow(): Promise<boolean> {
    const { server } = this.#parts;
    const divergence = await server.divergence(this.#record!.epoch);
    if (divergence === 'none' && (await this.#rewrite())) await server.follow();
    return typeof divergence === 'object' ? this.#empty() : false;
  }

  /** Only while the primary has what is to be filled in: the data of this one may be the last that there are. */
  async #empty(): Promise<boolean> {
    const { server } = this.#parts;
    const divergence = await server.divergence(this.#record!.epoch);
    if (divergence === 'unknown') return false;
    if (divergence !== 'none') await this.#save(divergence);
    if (!(await this.#rewrite())) return false;
    await server.discard();
    return this.#fence();
  }

  async #save(divergence: Divergence): Promise<void> {
    const saved = await this.#parts.server.saveDivergence(divergence);
    const { common } = divergence;
    if (saved === undefined)
      return this.#event(`had transactions of its own behind ${common} that its log has lost: see the folder mysql-previous`);
    const what = saved.transactions === 0 ? 'no client transaction' : `${saved.transactions} client transactions`;
    this.#event(`had ${what} of its own behind ${common}, saved in ${saved.file}`);
  }

  async #load(): Promise<void> {
    const { server } = this.#parts;
    if ((await server.divergence(this.#record!.epoch)) === 'unknown') return;
    if (await this.#rewrite()) await server.load();
  }

  /** In the background: while commits wait the agent must go on looking. */
  #mark(): void {
    if (this.#marking) return;
    this.#marking = true;
    this.#parts.server.mark().then(
      (bootId) => {
        this.#confirmed = bootId;
        this.#marking = false;
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** Whether this agent wrote it. If nobody knows, the next look may tell; a write that arrives late fails at the next one's version. */
  async #write(record: DatabaseRecord): Promise<boolean> {
    const writing = this.#discovery!.record('database').write(JSON.stringify(record), this.#version);
    const version = await this.#inTime(writing.catch((error: unknown) => this.#unlessUnavailable(error)));
    if (version === undefined) return false;
    this.#record = record;
    this.#version = version;
    return true;
  }

  /** Whether the record is as this agent knows it, and no earlier write is under way that may still change it. */
  #rewrite(): Promise<boolean> {
    return this.#write(this.#record!);
  }

  /** A primary that has lost its data must be missed, so that the replica takes over. */
  #announce(server: ServerState): void {
    if (this.#announced || this.#discovery === undefined || (server.empty && this.#record?.primary === this.#parts.name)) return;
    const { name, address, agentPort } = this.#parts;
    this.#announced = true;
    this.#discovery.announce('databases', { name, address, agentPort }).catch((error: unknown) => {
      this.#announced = false;
      if (!this.#stopped) this.#parts.log.warn({ err: error }, 'not announced');
    });
  }

  #unlessUnavailable(error: unknown): undefined {
    if (!(error instanceof UnavailableError)) throw error;
  }

  #tell(step: Step, server: ServerState): void {
    const why = 'why' in step ? step.why : undefined;
    const told = `${step.do}${why === undefined ? '' : `: ${why}`}`;
    if (told === this.#told) return;
    this.#told = told;
    this.#parts.log.info({ step: step.do, why, record: this.#record, server }, 'step');
    if (step.do !== 'wait' || why !== undefined) this.#event(`${stepWords[step.do]}${why === undefined ? '' : `: ${why}`}`);
  }

  #event(text: string): void {
    this.#parts.log.info({ event: text }, 'event');
    this.#events = [{ at: this.#parts.nowMs(), text }, ...this.#events].slice(0, eventsMax);
  }
}

function fitness(server: ServerState, status: PeerStatus | undefined): boolean | undefined {
  if (status === undefined || status.bootId !== server.replicaBootId) return undefined;
  const { lagMs, position } = status;
  if (lagMs === undefined || lagMs > lagMsMax) return false;
  // While commits wait for it, it has received all of them.
  return server.semiSync || (position !== undefined && server.position - position <= behindMax);
}
