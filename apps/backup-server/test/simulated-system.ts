/**
 * The whole system under faults, in one process and in simulated time: every role a process of its own, on a broker that loses connections, a network that cuts them, and a disk whose power can go; nodes
 * whose files change meanwhile; and admins that list and restore. Real are the roles, their wiring, the store, the frames on connections and who has which key, and the check of what is restored. Left out are TLS, the
 * files of a node (tree.ts) and the writing of what was restored: they take real time.
 */
import { assertLinearizable, byKey, History, type Model } from '@lab/checker';
import { silentLogger, sleep, type Clock } from '@lab/process';
import {
  brokerKinds,
  outageKinds,
  PromiseBroken,
  SimulatedBroker,
  SimulatedDisk,
  TimeOfDay,
  timeKinds,
  type Life,
  type SimulatedSystem,
  type World,
} from '@lab/simulation';
import { bundleParts, type Blob, type BundleParts } from '@lab/store/bundle';
import type { Random } from '@lab/testing';
import { ask, askVersion } from '../src/admin/ask.ts';
import { Download, sourceOf } from '../src/admin/download.ts';
import {
  connectChannel,
  listenChannels,
  RefusedError,
  type Channel,
  type Listening,
  type Network,
} from '../src/channel/channel.ts';
import * as keys from '../src/channel/keys.ts';
import { chunksIn } from '../src/domain/manifest.ts';
import { describeMessage } from '../src/message-words.ts';
import type { Head } from '../src/messages.ts';
import { makeHost } from '../src/hosts.ts';
import { NodeRole } from '../src/roles/node.ts';
import type { StatusResult } from '../src/roles/server.ts';
import type { ListedVersion, VerifyResult } from '../src/roles/store-commands.ts';
import { openStore, type Key } from '../src/versions.ts';
import { wire, type StoreSettings } from '../src/wiring.ts';
import { lieTo, lies, type Lie } from './lying-node.ts';
import { contentsOf, SimulatedFolder, SimulatedTree } from './simulated-folders.ts';
import { SimulatedNetwork } from './simulated-network.ts';
import { watchedBroker } from './watched-broker.ts';

interface Load {
  readonly [name: string]: number;
  readonly nodes: number;
  readonly requesters: number;
  /** Newest versions to keep; 0 for all. */
  readonly keep: number;
  readonly fileBytes: number;
  readonly everySeconds: number;
  readonly sweepMs: number;
  /** Whether the store is scrubbed meanwhile. */
  readonly scrubs: number;
  /** Which lie another node tells, from 1; with 0 there is none. */
  readonly lie: number;
  /** So many commands come after the first registrations. */
  readonly commands: number;
  /** At the end bytes on the disk flip. */
  readonly rot: number;
}

const kinds = [
  ...brokerKinds,
  ...outageKinds,
  'cut',
  'link cut',
  'cut one way',
  'arrives late',
  'all machines off',
  'disk error',
  'disk full',
  ...timeKinds,
] as const;

export const simulatedBackups = (): SimulatedSystem<Load> => ({
  name: 'backup-server',
  kinds,
  workload: (random) => ({
    nodes: random.integer(1, 2),
    requesters: random.integer(1, 2),
    keep: random.pick([0, 0, 1, 3]),
    fileBytes: random.pick([300, 300, 300, 300_000]),
    everySeconds: random.pick([1, 2, 5]),
    sweepMs: random.pick([1_000, 1_000, 600_000]),
    scrubs: random.integer(0, 1),
    lie: random.pick([0, 0, 0, ...lies.map((_, index) => index + 1)]),
    commands: random.integer(0, 4),
    rot: random.pick([0, 0, 0, 1]),
  }),
  least: {
    ...{ nodes: 1, requesters: 1, keep: 0, fileBytes: 300, everySeconds: 1, sweepMs: 1_000, scrubs: 0, lie: 0 },
    ...{ commands: 0, rot: 0 },
  },
  faultsForMs: 8_000,
  // A try that nobody hears of is given up after 60 s, one that fails for the sixth time waits for 32 s, and a connection is silent for 30 s.
  settleMs: 300_000,
  liveness: 'After a failure it is tried again: in the end every path has a version of what it is then',
  promises: [
    versionPromise,
    listPromise,
    registryPromise,
    'Damage is found',
    'No failure of a process damages the store',
    'Of a node that lies there is no version',
    'A node that lies is not believed',
    'What a stop breaks off has not failed',
    '`due` is acknowledged when its outcome is confirmed',
  ],
  prepare: async (load) => (world) => new Run(world, load).run(),
});

const master: keys.Key = { identity: 'master', bytes: Buffer.alloc(32, 'a key of this simulation') };
const beginMs = Date.UTC(2026, 0, 1);
/** By how much a clock jumps, for each ms that it stays so. */
const jumpFactor = 60;
const tickMs = 1_000;
const versionPromise = 'A version that the server lists restores byte for byte to what its node had';
const listPromise = 'A version that was listed stays, until retention or an admin removes it';
const registryPromise = 'What is registered is on disk before it is answered';

class Run {
  readonly #world: World;
  readonly #load: Load;
  readonly #random: Random;
  readonly #broker: SimulatedBroker;
  readonly #network: SimulatedNetwork;
  readonly #disk: SimulatedDisk;
  /** Of the machine that the store is on. */
  readonly #time: TimeOfDay;
  /** Each node's, by the path that is registered. */
  readonly #nodes = new Map<string, ReadonlyMap<string, SimulatedFolder>>();
  readonly #broken = Promise.withResolvers<never>();
  readonly #listed: Listed;
  #changes = true;
  #isRotten = false;

  constructor(world: World, load: Load) {
    this.#world = world;
    this.#load = load;
    this.#random = world.random;
    this.#broker = new SimulatedBroker(world, describeMessage);
    this.#network = new SimulatedNetwork(world);
    this.#time = new TimeOfDay(world.clock, beginMs);
    this.#disk = new SimulatedDisk(world, { share: 0.2, callMs: 0, nowMs: () => this.#time.nowMs() });
    const paths = ['papers', 'notes'].slice(0, 3 - load.nodes);
    for (let node = 1; node <= load.nodes; node++)
      this.#nodes.set(`node-${node}`, new Map(paths.map((path) => [path, new SimulatedFolder(load.fileBytes)])));
    this.#listed = new Listed(
      world,
      load.keep,
      this.#folders.map(([key]) => keyOf(key)),
    );
  }

  async run(): Promise<void> {
    for (const role of ['nodes-manager', 'server', 'backup-requester']) {
      const count = role === 'backup-requester' ? this.#load.requesters : 1;
      for (let replica = 1; replica <= count; replica++)
        this.#world.start(count === 1 ? role : `${role}-${replica}`, (life) => this.#startRole(role, life));
    }
    for (const [name, folders] of this.#nodes) this.#world.start(name, (life) => this.#startNode(name, folders, life));
    if (this.#load.lie > 0) this.#world.start('liar', (life) => this.#startLiar(life));
    this.#changeFiles();
    await Promise.race([this.#ask(), this.#broken.promise]);
  }

  async #startRole(role: string, life: Life): Promise<void> {
    const host = { clock: life.clock, newId: () => uuidOf(life.random), nowMs: () => this.#time.nowMs() };
    const store = await openStore('/store', { ...host, disk: this.#disk.mount(life) });
    const connection = this.#broker.connect(life);
    const tell = (broken: PromiseBroken): void => this.#broken.reject(broken);
    const broker = role === 'backup-requester' ? watchedBroker(connection, tell) : connection;
    const times: StoreSettings = { scrubCycle: this.#load.scrubs === 1 ? 256 * tickMs : 1e9, sweepInterval: this.#load.sweepMs };
    // Whether it ends with an error or without, it is started again.
    const end = (): void =>
      void started.stop().then(
        () => life.die(tickMs),
        () => life.die(tickMs),
      );
    const fail = (error: unknown): void => life.fail(error);
    const parts = { ...host, log: silentLogger, store, broker, master, end, fail };
    const started = wire(role, makeHost(parts, { listen: 'server:7500' }, this.#network.for(life)), times);
    await started.start();
    if (role === 'nodes-manager') this.#time.strikeWith(life, jumpFactor);
  }

  #listening(name: string): Listening {
    const own = keys.keyFor(master, `node-${name}`);
    const keyOf = (identity: string): Buffer | undefined => (identity === `node-${name}` ? own : undefined);
    return { host: name, port: 7600, keyOf, connectionsMax: 50, onRefused: () => {} };
  }

  async #startNode(name: string, folders: ReadonlyMap<string, SimulatedFolder>, life: Life): Promise<void> {
    const tree = new SimulatedTree(life, folders, () => this.#world.clock.nowMs());
    const listen: ConstructorParameters<typeof NodeRole>[0]['listen'] = (serve) =>
      listenChannels(this.#listening(name), serve, this.#network.for(life));
    // Nothing here is made in another thread: what a thread needs is nobody's to replay.
    const bundle = async (blobs: readonly Blob[]): Promise<BundleParts> => bundleParts(blobs);
    await new NodeRole({ name, tree, clock: life.clock, log: silentLogger, bundle, listen }).start();
  }

  async #startLiar(life: Life): Promise<void> {
    await listenChannels(this.#listening('liar'), lieTo(this.#lie!, life.clock), this.#network.for(life));
  }

  /** While faults strike, and once more after that. */
  #changeFiles(): void {
    const { clock } = this.#world;
    const random = this.#random.fork('files');
    const change = (): void => {
      if (!this.#changes) return;
      const folders = [...this.#nodes.values()].flatMap((each) => [...each.values()]);
      random.pick(folders).change(random, clock.nowMs());
      clock.after(random.pick([20, 500, 1_000]), change);
    };
    change();
  }

  get #lie(): Lie | undefined {
    return lies[this.#load.lie - 1];
  }

  get #folders(): [Key, SimulatedFolder][] {
    return [...this.#nodes].flatMap(([node, folders]) =>
      [...folders].map(([path, folder]): [Key, SimulatedFolder] => [{ node, path }, folder]),
    );
  }

  /** Admins do not die; their connections break. */
  #admin(name: string): Promise<Admin> {
    return new Promise((resolve) =>
      this.#world.start(name, async (life) => resolve(new Admin(life, this.#network.for(life, 0), this.#listed))),
    );
  }

  async #ask(): Promise<void> {
    const [admin, watcher] = [await this.#admin('admin-1'), await this.#admin('admin-2')];
    this.#watch(watcher).catch((error: unknown) => this.#broken.reject(error));
    const kill = (): void => this.#world.life('nodes-manager')?.die(tickMs);
    const registered = new Registered(admin, this.#load, this.#listed, kill);
    // One that holds up its backups for ever does it with as many as a requester takes.
    const lying = this.#lie === undefined ? [] : this.#lie === 'working' ? ['w', 'x', 'y', 'z'] : ['x'];
    for (const path of lying) await registered.register({ node: 'liar', path });
    for (const [key] of this.#folders) await registered.register(key);
    const random = this.#random.fork('commands');
    for (let count = 0; count < this.#load.commands; count++) await registered.command(random, random.pick(this.#folders)[0]);
    await this.#world.healed();
    await registered.settle();
    await this.#settle(admin);
    if (this.#load.rot === 1) await this.#rot(admin);
    await registered.check();
    this.#listed.judge();
  }

  /** Lists and restores, whatever happens, as long as anything does. */
  async #watch(admin: Admin): Promise<void> {
    const { clock } = admin;
    const random = this.#random.fork('watch');
    while (this.#changes) {
      await sleep(clock, random.integer(50, 1_000));
      try {
        const listed = await admin.list();
        this.#expectWhole(listed);
        if (listed.length > 0) await this.#restore(admin, random.pick(listed));
      } catch (error) {
        if (error instanceof PromiseBroken) throw error;
      }
    }
  }

  #expectWhole(listed: readonly ListedVersion[]): void {
    // What could not be read is listed as damaged until it is read again.
    if (this.#isRotten || (this.#changes && this.#disk.errors > 0)) return;
    const damaged = listed.find(({ state }) => state !== 'whole');
    if (damaged !== undefined) throw new PromiseBroken(versionPromise, `${textOf(damaged)} is ${damaged.state}`);
    if (listed.some(({ node }) => node === 'liar'))
      throw new PromiseBroken('Of a node that lies there is no version', `it lied about its ${this.#lie}`);
  }

  async #restore(admin: Admin, version: ListedVersion): Promise<void> {
    const folder = this.#nodes.get(version.node)!.get(version.path)!;
    const contents = await admin.restore(version);
    const revisions = new Map<string, number>();
    for (const [name, bytes] of contents) {
      const revision = folder.revisionOf(name, bytes);
      const isNoted = version.notes.some(({ path }) => path === name);
      if (revision === 0 && !isNoted) throw new PromiseBroken(versionPromise, `${name} of ${textOf(version)} never was so`);
      if (revision > 0) revisions.set(name, revision);
    }
    this.#listed.restored(version, revisions);
  }

  /** All is repaired: what is there now is backed up, and everything that is listed can be restored. */
  async #settle(admin: Admin): Promise<void> {
    this.#changes = false;
    for (const [, folder] of this.#folders) folder.write('a', this.#world.clock.nowMs());
    await this.#upToDate(admin);
    const { findings } = await admin.untilDone(() => admin.ask<VerifyResult>({ kind: 'verify' }));
    // A pack that a sweep had begun to remove gets its index again.
    const damage = findings.find(({ repaired }) => !repaired);
    if (damage !== undefined) throw new PromiseBroken('No failure of a process damages the store', JSON.stringify(damage));
    const listed = await admin.untilDone(() => admin.list());
    this.#expectWhole(listed);
    for (const version of listed) await this.#restoreSurely(admin, version);
  }

  /** Resolves when the newest version of each path is whole, and what is there now. */
  async #upToDate(admin: Admin): Promise<void> {
    const { clock } = admin;
    let isSo = false;
    const look = async (): Promise<void> => {
      while (!isSo) {
        await sleep(clock, 1_000);
        const listed = await admin.list().catch(() => []);
        isSo = this.#folders.every(([key, folder]) => {
          const newest = listed.findLast((version) => isOf(version, key));
          return newest?.state === 'whole' && newest.checksum === folder.checksum;
        });
      }
    };
    look().catch((error: unknown) => this.#broken.reject(error));
    await this.#world.when(() => isSo);
  }

  async #restoreSurely(admin: Admin, version: ListedVersion): Promise<void> {
    await admin
      .untilDone(() => this.#restore(admin, version))
      .catch(async (error: unknown) => {
        if (!(error instanceof RefusedError)) throw error;
        // No rule kept it, and it went after it was listed.
        const listed = await admin.untilDone(() => admin.list());
        if (!listed.some((each) => isOf(each, version) && each.version === version.version)) return;
        throw new PromiseBroken(versionPromise, `${textOf(version)}: ${error.message}`);
      });
  }

  /**
   * A byte of every pack flips, or cannot be read, and so do copies of records and indexes: what cannot be restored any more is listed as
   * damaged, and the next backup brings what the node has.
   */
  async #rot(admin: Admin): Promise<void> {
    const random = this.#random.fork('rot');
    this.#isRotten = true;
    const { fake } = this.#disk;
    const isUnreadable = random.chance(0.5);
    const rot = async (path: string): Promise<void> => {
      const bytes = await fake.readFile(path);
      const at = random.pick([bytes.length - 1, random.integer(0, bytes.length - 1)]);
      if (isUnreadable) return fake.spoil(path, at);
      const file = await fake.open(path, 'r+');
      await file.write(Buffer.of(bytes[at]! ^ 1), 0, 1, at);
    };
    for (const name of await fake.readdir('/store/packs'))
      if (name.endsWith('.pack') || random.chance(0.3)) await rot(`/store/packs/${name}`);
    for (const key of await fake.readdir('/store/versions'))
      for (const name of await fake.readdir(`/store/versions/${key}`)) await rot(`/store/versions/${key}/${name}`);
    fake.syncAll();
    const { findings } = await admin.untilDone(() => admin.ask<VerifyResult>({ kind: 'verify' }));
    if (findings.length === 0) throw new PromiseBroken('Damage is found', 'verify found none');
    for (const version of await admin.untilDone(() => admin.list()))
      if (version.state === 'whole') await this.#restoreSurely(admin, version);
    await this.#upToDate(admin);
    const listed = await admin.untilDone(() => admin.list());
    for (const [key] of this.#folders)
      await this.#restoreSurely(
        admin,
        listed.findLast((version) => isOf(version, key))!,
      );
  }
}

const isOf = ({ node, path }: Key, key: Key): boolean => node === key.node && path === key.path;
const keyOf = ({ node, path }: Key): string => `${node}/${path}`;
const textOf = (version: ListedVersion): string => `version ${version.version} of ${keyOf(version)}`;

function uuidOf(random: Random): string {
  const hex = (): string => random.integer(0, 0xffff).toString(16).padStart(4, '0');
  return `${hex()}${hex()}-${hex()}-4${hex().slice(1)}-8${hex().slice(1)}-${hex()}${hex()}${hex()}`;
}

const retryMs = 500;

/** An admin: each command on a connection of its own. */
class Admin {
  readonly #life: Life;
  readonly #network: Network;
  readonly #listed: Listed;

  constructor(life: Life, network: Network, listed: Listed) {
    this.#life = life;
    this.#network = network;
    this.#listed = listed;
  }

  get clock(): Clock {
    return this.#life.clock;
  }

  async #connected<T>(work: (channel: Channel) => Promise<T>): Promise<T> {
    const target = { host: 'server', port: 7500, identity: 'admin', key: keys.keyFor(master, 'admin') };
    const channel = await connectChannel(target, this.#network);
    try {
      return await work(channel);
    } finally {
      channel.destroy();
    }
  }

  ask<T>(head: Head): Promise<T> {
    return this.#connected((channel) => ask<T>(channel, head));
  }

  async list(): Promise<ListedVersion[]> {
    const answered = this.#listed.begin(this.#life.name);
    const listed = await this.ask<ListedVersion[]>({ kind: 'list' });
    answered(listed);
    return listed;
  }

  restore({ node, path, version }: ListedVersion): Promise<Map<string, Buffer>> {
    return this.#connected(async (channel) => {
      const { entries, isDamaged } = await askVersion(channel, { node, path, version });
      if ([...entries].some((_, index) => isDamaged(index))) throw new RefusedError('files are damaged', 1);
      const download = new Download(sourceOf(channel), chunksIn(entries));
      return contentsOf(entries, (chunk) => download.take(chunk));
    });
  }

  /** Again and again, until it is done or the server says, for good, that it cannot be. `onUnknown` hears of each time that nobody knows. */
  async untilDone<T>(work: () => Promise<T>, onUnknown: () => void = () => {}): Promise<T> {
    const { clock } = this;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const isAnswer = error instanceof PromiseBroken || (error instanceof RefusedError && error.code === 1);
        if (isAnswer) throw error;
        onUnknown();
        await sleep(clock, retryMs);
      }
    }
  }
}

/** What an admin has registered, as far as the server has said so. */
class Registered {
  readonly #admin: Admin;
  readonly #load: Load;
  readonly #listed: Listed;
  /** Whether it is; `undefined` where nobody knows. */
  readonly #is = new Map<string, boolean | undefined>();
  readonly #keys = new Map<string, Key>();
  readonly #kill: () => void;

  /** `kill` kills the nodes manager. */
  constructor(admin: Admin, load: Load, listed: Listed, kill: () => void) {
    this.#kill = kill;
    this.#admin = admin;
    this.#load = load;
    this.#listed = listed;
  }

  async register(key: Key): Promise<void> {
    const { keep, everySeconds } = this.#load;
    const registration = { address: `${key.node}:7600`, every: `${everySeconds}s`, ...(keep > 0 && { keep }) };
    await this.#change(key, { kind: 'register', ...key, ...registration }, true);
  }

  async #unregister(key: Key, forget: boolean): Promise<void> {
    const forgotten = forget ? this.#listed.forget(key) : () => {};
    await this.#change(key, { kind: 'unregister', ...key, forget }, false);
    forgotten();
  }

  /** What was asked for twice may be done twice, the second time after what comes next. */
  async #change(key: Key, head: Head, isThen: boolean): Promise<void> {
    let isKnown = !this.#is.has(keyOf(key)) || this.#is.get(keyOf(key)) !== undefined;
    this.#keys.set(keyOf(key), key);
    this.#is.set(keyOf(key), undefined);
    const work = (): Promise<void> =>
      this.#admin.ask<void>(head).catch((error: unknown) => {
        // It was done the last time. Anything else is a disk that is full or fails.
        if (!(error instanceof RefusedError) || error.message.includes('is not registered')) throw error;
        throw new Error(error.message);
      });
    await this.#admin
      .untilDone(work, () => (isKnown = false))
      .catch((error: unknown) => {
        if (!(error instanceof RefusedError)) throw error;
      });
    if (isKnown) this.#is.set(keyOf(key), isThen);
  }

  /** Any command, and after a while a look whether what was answered is still so. */
  async command(random: Random, key: Key): Promise<void> {
    const { clock } = this.#admin;
    const pause = (): Promise<void> => sleep(clock, random.integer(0, 2_500));
    await pause();
    await this.check();
    const name = random.pick(['backupNow', 'unregister', 'forget', 'shutdown', 'verify'] as const);
    if (name === 'unregister' || name === 'forget') {
      await this.#unregister(key, name === 'forget');
      if (random.chance(0.3)) this.#kill();
      await pause();
      await this.check();
      return this.register(key);
    }
    const head: Head = name === 'backupNow' ? { kind: name, ...key } : { kind: name };
    await this.#admin.ask(head).catch(() => undefined);
  }

  async check(): Promise<void> {
    const status = await this.#admin.untilDone(() => this.#admin.ask<StatusResult>({ kind: 'status' }));
    const there = new Set(status.tasks.map(keyOf));
    for (const [key, is] of this.#is)
      if (is !== undefined && is !== there.has(key))
        throw new PromiseBroken(registryPromise, `${key} is ${there.has(key) ? '' : 'not '}registered`);
    const believed = status.tasks.find(({ node, succeededMs }) => node === 'liar' && succeededMs !== undefined);
    if (believed !== undefined) throw new PromiseBroken('A node that lies is not believed', `it is ${believed.last?.result}`);
  }

  /** All is repaired: what nobody knows of is registered once more. */
  async settle(): Promise<void> {
    for (const [key, is] of this.#is) if (is !== true) await this.register(this.#keys.get(key)!);
  }
}

interface NumbersInput {
  readonly op: 'list' | 'forget';
  readonly key: string;
}
type Span = readonly [oldest: number, newest: number];

interface Numbers {
  readonly span: Span;
  /** None of them is there, since an admin wanted it so. */
  readonly isForgotten: boolean;
}

/** The numbers of the versions of a path: no gaps, never less than were listed, and given once. `forget` removes all; retention leaves the newest `keep`. */
const numbersModel = (keep: number): Model<Numbers, NumbersInput, Span | undefined> => ({
  initial: { span: [1, 0], isForgotten: false },
  step(numbers, { input, answer }) {
    const { span, isForgotten } = numbers;
    const [from, to] = span;
    if (input.op === 'forget') return { span, isForgotten: true };
    if (answer === undefined) return numbers;
    if (answer.output === undefined) return to === 0 || isForgotten ? numbers : undefined;
    const [oldest, newest] = answer.output;
    const stays = isForgotten ? oldest > to : oldest === from || (keep > 0 && oldest > from && oldest <= newest - keep + 1);
    return stays && newest >= to ? { span: [oldest, newest], isForgotten: false } : undefined;
  },
});

/** What was listed and restored, by all admins. */
class Listed {
  readonly #history: History<NumbersInput, Span | undefined>;
  readonly #keep: number;
  readonly #keys: readonly string[];
  /** By path and number. */
  readonly #checksums = new Map<string, string>();
  readonly #revisions = new Map<string, Map<number, ReadonlyMap<string, number>>>();

  constructor(world: World, keep: number, keys: readonly string[]) {
    this.#history = new History(world.clock);
    this.#keep = keep;
    this.#keys = keys;
  }

  begin(client: string): (listed: readonly ListedVersion[]) => void {
    const calls = this.#keys.map((key) => [key, this.#history.begin(client, { op: 'list', key })] as const);
    return (listed) => {
      for (const [key, call] of calls) {
        const versions = listed.filter((version) => keyOf(version) === key);
        // Number 0: the disk did not say which there are.
        if (versions.every(({ version }) => version > 0)) call.ok(this.#spanOf(versions));
      }
    };
  }

  #spanOf(versions: readonly ListedVersion[]): Span | undefined {
    versions.forEach((version, index) => {
      const text = textOf(version);
      if (version.version !== versions[0]!.version + index)
        throw new PromiseBroken(listPromise, `one before ${text} is not listed`);
      const known = this.#checksums.get(text) ?? version.checksum;
      if (version.state === 'lost') return;
      if (known !== version.checksum) throw new PromiseBroken(listPromise, `${text} is another than before`);
      this.#checksums.set(text, known);
    });
    return versions.length === 0 ? undefined : [versions[0]!.version, versions.at(-1)!.version];
  }

  /** Begins to forget all versions of a path. */
  forget(key: Key): () => void {
    const call = this.#history.begin('admin-1', { op: 'forget', key: keyOf(key) });
    return () => call.ok(undefined);
  }

  /** Which revision of each file is in a version. */
  restored(version: ListedVersion, revisions: ReadonlyMap<string, number>): void {
    const known = this.#revisions.get(keyOf(version)) ?? new Map<number, ReadonlyMap<string, number>>();
    this.#revisions.set(keyOf(version), known.set(version.version, revisions));
  }

  judge(): void {
    for (const [key, versions] of this.#revisions) {
      const newest = new Map<string, number>();
      for (const [number, revisions] of [...versions].sort(([a], [b]) => a - b))
        for (const [name, revision] of revisions) {
          if (revision < (newest.get(name) ?? 0))
            throw new PromiseBroken(versionPromise, `${name} in version ${number} of ${key} is older than in one before`);
          newest.set(name, revision);
        }
    }
    try {
      assertLinearizable(byKey(numbersModel(this.#keep)), this.#history.operations);
    } catch (error) {
      throw new PromiseBroken(listPromise, (error as Error).message);
    }
  }
}
