/**
 * The agent of a database: looks, asks `nextStep`, does it, and looks again. Everything it knows it may lose: where it starts again it goes on from what it sees.
 * It belongs to one life of the server and fails with it; whoever runs it starts it again.
 */
import type { Discovery } from '@lab/discovery';
import type { Clock, Logger, Role } from '@lab/process';
import { takeoverMs, type AgentEvent, type AgentStatus } from '../domain/agent-status.ts';
import type { DatabaseServer, Divergence, Door, Peer } from '../port.ts';
import { nextStep, type ServerState, type Situation, type Step } from '../domain/next-step.ts';
import { Timing } from '../domain/timing.ts';
import { SharedRecord } from './shared-record.ts';

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
  /** Hears each event. */
  readonly note?: (text: string) => void;
}

/** Between two looks while there is nothing to do: a fifth of the time in which the shortest silence must be noticed. */
const roundMs = 200;
const eventsMax = 50;
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

export class DatabaseAgent implements Role {
  readonly failed: Promise<never>;
  readonly #parts: AgentParts;
  readonly #failure = Promise.withResolvers<never>();
  readonly #timing: Timing;
  readonly #shared: SharedRecord;
  #marking = false;
  #askedMs: number | undefined;

  #state: ServerState | undefined;
  #told = '';
  #events: readonly AgentEvent[];
  #stopped = false;
  #cancel: () => void = () => undefined;
  #round: Promise<boolean> = Promise.resolve(false);

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#events = parts.before;
    this.#timing = new Timing(parts.clock.nowMs());
    this.#shared = new SharedRecord(parts.clock);
    this.failed = this.#failure.promise;
    this.failed.catch(() => undefined);
  }

  async start(): Promise<void> {
    const fail = (error: unknown): void => this.#fail(error);
    this.#parts.server.ended.catch(fail);
    this.#parts.discovery.then((discovery) => this.#shared.connected(discovery), fail);
    // Before the door is first opened.
    await this.#parts.door.watched();
    this.#lookAfter(0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#round.catch(() => undefined);
    this.#parts.server.close();
    await this.#shared.close();
  }

  status(): AgentStatus {
    const state = this.#state;
    const { record } = this.#shared;
    const following = state?.replication?.applying === true && state.replication.receiving;
    return {
      name: this.#parts.name,
      role: state === undefined ? 'starting' : state.writable ? 'primary' : following ? 'replica' : 'fenced',
      epoch: record?.epoch ?? 0,
      primary: record?.primary,
      replicaInSync: record?.replicaInSync ?? false,
      lagMs: following ? this.#timing.lagMs(state.replication.applied, this.#parts.clock.nowMs()) : undefined,
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
    this.#shared.close().catch(() => undefined);
    this.#failure.reject(error);
  }

  /** Whether a step was done that asks for another look at once. */
  async #look(): Promise<boolean> {
    const contact = await this.#shared.read();
    if (contact) this.#timing.contact(this.#parts.clock.nowMs());
    const [server, missed] = [await this.#parts.server.observe(), await this.#parts.peer.missed()];
    this.#state = server;
    const step = nextStep(this.#situation(server, contact, missed));
    this.#tell(step, server);
    if (!server.writable) await this.#parts.door.close();
    const changed = await this.#do(step);
    this.#announce(server);
    await this.#parts.door.watched();
    return changed;
  }

  #situation(server: ServerState, contact: boolean, missed: boolean): Situation {
    const { name, peerName, founder, peer, clock } = this.#parts;
    const nowMs = clock.nowMs();
    return {
      ...this.#timing.measure(server, peer.status(), nowMs),
      ...{ me: name, founder, record: this.#shared.record, contact, server },
      asked: this.#askedMs !== undefined && nowMs - this.#askedMs < takeoverMs,
      peerMissed: missed || !this.#shared.isListed(peerName),
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
        return this.#shared.write({ epoch: 1, primary: name, replicaInSync: false, replicaBootId: '' });
      case 'goAlone':
        return this.#goAlone();
      case 'turnSemiSyncOn':
        this.#timing.awaitsReplica(this.#parts.clock.nowMs());
        await server.setSemiSync(true);
        return true;
      case 'mark':
        this.#mark();
        return false;
      case 'admit':
        return this.#shared.write({ ...this.#shared.record!, replicaInSync: true, replicaBootId: step.bootId });
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
        if (await this.#shared.rewrite()) await server.receive();
        return false;
      case 'takeOver':
        return this.#shared.write({
          epoch: this.#shared.record!.epoch + 1,
          primary: name,
          replicaInSync: false,
          replicaBootId: '',
        });
      case 'leaveReplication':
        this.#askedMs = undefined;
        await server.leaveReplication();
        return true;
    }
  }

  async #goAlone(): Promise<boolean> {
    const { server, door, name } = this.#parts;
    const { epoch } = this.#shared.record!;
    if (!(await this.#shared.write({ ...this.#shared.record!, replicaInSync: false, replicaBootId: '' }))) return false;
    this.#timing.goesAlone(this.#parts.clock.nowMs());
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
    const divergence = await server.divergence(this.#shared.record!.epoch);
    if (divergence === 'none' && (await this.#shared.rewrite())) await server.follow();
    return typeof divergence === 'object' ? this.#empty() : false;
  }

  /** Only while the primary has what is to be filled in: the data of this one may be the last that there are. */
  async #empty(): Promise<boolean> {
    const { server } = this.#parts;
    const divergence = await server.divergence(this.#shared.record!.epoch);
    if (divergence === 'unknown') return false;
    if (divergence !== 'none') await this.#save(divergence);
    if (!(await this.#shared.rewrite())) return false;
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
    if ((await server.divergence(this.#shared.record!.epoch)) === 'unknown') return;
    if (await this.#shared.rewrite()) await server.load();
  }

  /** In the background: while commits wait the agent must go on looking. */
  #mark(): void {
    if (this.#marking) return;
    this.#marking = true;
    this.#parts.server.mark().then(
      (bootId) => {
        this.#timing.confirm(bootId);
        this.#marking = false;
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** A primary that has lost its data must be missed, so that the replica takes over. */
  #announce(server: ServerState): void {
    const { name, address, agentPort, log } = this.#parts;
    if (server.empty && this.#shared.record?.primary === name) return;
    this.#shared.announce({ name, address, agentPort }, (error) => {
      if (!this.#stopped) log.warn({ err: error }, 'not announced');
    });
  }

  #tell(step: Step, server: ServerState): void {
    const why = 'why' in step ? step.why : undefined;
    const told = `${step.do}${why === undefined ? '' : `: ${why}`}`;
    if (told === this.#told) return;
    this.#told = told;
    this.#parts.log.info({ step: step.do, why, record: this.#shared.record, server }, 'step');
    if (step.do !== 'wait' || why !== undefined) this.#event(`${stepWords[step.do]}${why === undefined ? '' : `: ${why}`}`);
  }

  #event(text: string): void {
    this.#parts.log.info({ event: text }, 'event');
    this.#parts.note?.(text);
    this.#events = [{ at: this.#parts.nowMs(), text }, ...this.#events].slice(0, eventsMax);
  }
}
