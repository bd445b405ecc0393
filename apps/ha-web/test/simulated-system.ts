/**
 * Two databases and their agents under faults, in simulated time: whatever fails and whenever, no row that a client was told is stored is lost, and none that a client
 * has read is gone for the next. The model is database-model.ts.
 */
import { assertLinearizable, byKey, History, register, type RegisterInput } from '@lab/checker';
import { sleep } from '@lab/process';
import { processKinds, PromiseBroken, type SimulatedSystem, type World } from '@lab/simulation';
import type { Random } from '@lab/testing';
import type { DatabaseRecord } from '../src/database/domain/next-step.ts';
import { machineKinds, names, Pair, type Machine, type MachineName, type Server } from './database-model.ts';

interface Load {
  readonly [name: string]: number;
  readonly clients: number;
  /** At the end the primary loses its disk: 0 not at all, 1 with a replica in sync, 2 with a replica that was away. */
  readonly diskLost: number;
}

/** `rpl_semi_sync_master_wait_point`: whether a commit that waits for the replica is hidden from other clients. */
type WaitPoint = 'AFTER_SYNC' | 'AFTER_COMMIT';

/** With another wait point than the real one it is for proving that this is found. */
export const simulatedDatabases = (waitPoint: WaitPoint = 'AFTER_SYNC'): SimulatedSystem<Load> => ({
  name: 'ha-web',
  kinds: [...processKinds, 'arrives late', ...machineKinds],
  workload: (random) => ({ clients: random.integer(2, 4), diskLost: random.integer(0, 2) }),
  least: { clients: 1, diskLost: 0 },
  faultsForMs: 25_000,
  // Twice a lease, a session, a rebuild and several tries.
  settleMs: 40_000,
  liveness: 'When all is repaired the primary serves, and its replica is in sync again',
  promises: [
    'No row is lost that a client was told is stored',
    'No read shows a row that a failover loses',
    'One epoch acknowledges, the latest',
    'Nothing is discarded that nobody else has',
    'A replica does not empty itself for a primary that has nothing',
    'A server replicates once in its life',
  ],
  prepare: async (load) => async (world) => {
    const run = new Run(world, load, waitPoint);
    await Promise.race([run.run(load), run.pair.broken.promise]);
  },
});

const checkEveryMs = 250;

class Run {
  readonly pair: Pair;
  readonly #world: World;
  readonly #clients: Clients;
  #record: DatabaseRecord | undefined;

  constructor(world: World, { clients }: Load, waitPoint: WaitPoint) {
    this.#world = world;
    this.pair = new Pair(world);
    this.#clients = new Clients(this.pair, clients, waitPoint);
  }

  async run({ diskLost }: Load): Promise<void> {
    void this.#watchRecord();
    this.#world.clock.every(checkEveryMs, () => this.#check());
    await this.#wholeAgain();
    if (diskLost === 1) {
      this.#primary!.loseDisk();
      await this.#wholeAgain();
    } else if (diskLost === 2) await this.#loseLastDisk();
    this.#clients.judgeReads();
  }

  async #watchRecord(): Promise<void> {
    const { registry } = this.pair;
    for await (const { text } of registry.connect().record('database').watch()) this.#record = JSON.parse(text) as DatabaseRecord;
  }

  get #primary(): Machine | undefined {
    return this.#record && this.pair.machines[this.#record.primary as MachineName];
  }

  #check(): void {
    const primary = this.#primary;
    // One that has lost its disk lets nobody in.
    if (primary === undefined || primary.data.empty) return;
    const has = logOf(primary);
    const lost = [...this.#clients.acknowledged].filter(([id]) => !has.has(id));
    if (lost.length === 0) return;
    const [[id, by]] = lost as [[string, string]];
    const { epoch } = this.#record!;
    const detail = `${primary.name}, the primary of epoch ${epoch}, has not ${lost.length} of them; row ${id} was acknowledged by ${by}`;
    this.pair.fail('No row is lost that a client was told is stored', detail);
  }

  async #wholeAgain(): Promise<void> {
    const { clock } = this.#world;
    await this.#world.healed();
    await sleep(clock, 5_000);
    await this.#world.when(() => this.#isWhole());
    this.#check();
  }

  #isWhole(): boolean {
    const primary = this.#primary;
    if (!primary?.doorOpen || primary.server?.writable !== true || primary.peer.doorOpen) return false;
    return this.#record!.replicaInSync && this.#record!.replicaBootId === primary.peer.server?.bootId;
  }

  /** The replica was not in sync: it keeps what may be the last that there is. */
  async #loseLastDisk(): Promise<void> {
    const { clock } = this.#world;
    const primary = this.#primary!;
    const replica = primary.peer;
    replica.switchOff(5_000);
    await this.#world.when(() => !this.#record!.replicaInSync);
    const kept = logOf(replica);
    primary.loseDisk();
    await sleep(clock, 15_000);
    const left = logOf(replica);
    const gone = [...kept].filter((id) => !left.has(id));
    if (gone.length > 0)
      this.pair.fail('A replica does not empty itself for a primary that has nothing', `${replica.name} has lost ${gone.length}`);
  }
}

const logOf = ({ data }: Machine): Set<string> => new Set(data.log.map(({ id }) => id));

/** A register for each row: whether it is there. */
const rows = byKey(register(false));

/** Clients that write and read wherever a door is open, and remember what they were told. */
class Clients {
  /** Row and by whom. */
  readonly acknowledged = new Map<string, string>();
  readonly #history: History<RegisterInput<boolean> & { key: string }, boolean | undefined>;
  /** The newest rows. */
  readonly #written: string[] = [];
  readonly #pair: Pair;
  readonly #random: Random;
  readonly #waitPoint: WaitPoint;
  /** The latest in which anything was acknowledged or read. */
  #epoch = 0;
  #told = '';

  constructor(pair: Pair, count: number, waitPoint: WaitPoint) {
    this.#pair = pair;
    this.#random = pair.world.random.fork('clients');
    this.#waitPoint = waitPoint;
    this.#history = new History(pair.world.clock);
    for (let client = 1; client <= count; client++) this.#use(`client ${client}`);
  }

  judgeReads(): void {
    try {
      assertLinearizable(rows, this.#history.operations);
    } catch (error) {
      throw new PromiseBroken('No read shows a row that a failover loses', (error as Error).message);
    }
  }

  #use(client: string): void {
    const again = (): void => void this.#pair.world.clock.after(this.#random.integer(5, 150), () => this.#use(client));
    const machine = this.#pair.machines[this.#random.pick(names)];
    const { server } = machine;
    if (!server || !machine.doorOpen || machine.paused.on) return again();
    if (this.#written.length > 0 && this.#random.chance(0.5)) {
      this.#read(client, server);
      return again();
    }
    if (!server.writable) return again();
    this.#write(client, machine, server, again);
  }

  /** An old primary that thaws is refused, as by the API. */
  #read(client: string, { data, epoch, waiters }: Server): void {
    if (epoch < this.#epoch) return;
    this.#epoch = epoch;
    const key = this.#random.pick(this.#written);
    const seen = data.log.length - (this.#waitPoint === 'AFTER_SYNC' ? waiters.length : 0);
    const isThere = data.log.slice(0, seen).some(({ id }) => id === key);
    this.#history.begin(client, { op: 'read', key }).ok(isThere);
  }

  #write(client: string, machine: Machine, server: Server, again: () => void): void {
    const id = this.#pair.newId();
    this.#written.push(id);
    if (this.#written.length > 5) this.#written.shift();
    const call = this.#history.begin(client, { op: 'write', key: id, value: true });
    // A client that hears nothing goes away; its row may be stored later.
    let waits = true;
    const cancel = this.#pair.world.clock.after(2_000, () => {
      waits = false;
      again();
    });
    void server.commit({ id, ofClient: true }).then(() => {
      if (!server.alive || !waits) return;
      cancel();
      call.ok(undefined);
      this.#hear(id, machine, server.epoch, server.semiSync);
      again();
    });
  }

  #hear(id: string, { name }: Machine, epoch: number, semiSync: boolean): void {
    const by = `${name} in epoch ${epoch}${semiSync ? '' : ', alone'}`;
    this.acknowledged.set(id, by);
    if (by !== this.#told) this.#pair.world.life(name)?.note(`acknowledges row ${id}: ${by}`);
    this.#told = by;
    // Two databases that acknowledge would be of two epochs.
    if (epoch < this.#epoch)
      this.#pair.fail(
        'One epoch acknowledges, the latest',
        `${name} acknowledged row ${id} in epoch ${epoch}, behind ${this.#epoch}`,
      );
    this.#epoch = Math.max(this.#epoch, epoch);
  }
}
