/**
 * The whole system under faults: registry, servers, workers and clients, each a process of its own, on a broker that loses connections, a registry of sessions that end, and a folder whose disk fails, gets full and
 * loses its power. All of the roles' own code runs; only gRPC's wire and the making of pictures are left out.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { status } from '@grpc/grpc-js';
import { makeLogGroup } from '@lab/group';
import type { Broker } from '@lab/middleware';
import { silentLogger, sleep } from '@lab/process';
import {
  brokerKinds,
  outageKinds,
  PromiseBroken,
  SimulatedBroker,
  SimulatedDisk,
  SimulatedRegistry,
  TimeOfDay,
  timeKinds,
  type Life,
  type SimulatedSystem,
  type World,
} from '@lab/simulation';
import type { FakeDisk } from '@lab/store/fake-disk';
import { codeOf } from '../src/client/outcome.ts';
import { isSameUpload, type Picture } from '../src/domain/catalog.ts';
import { GroupCatalog } from '../src/group-catalog.ts';
import { errorOf } from '../src/grpc/serve.ts';
import { describeMessage } from '../src/messages.ts';
import { RegistryRole } from '../src/roles/registry.ts';
import { ServerRole } from '../src/roles/server.ts';
import { WorkerRole } from '../src/roles/worker.ts';
import { PictureStore } from '../src/store/picture-store.ts';
import { deadLettersOf, defaultNames, topologyOf } from '../src/topology.ts';
import { idOf } from '../src/wiring.ts';
import { collect } from './collect.ts';
import { SimulatedCalls } from './simulated-calls.ts';
import { registryAddress, SimulatedClient, type Wish } from './simulated-client.ts';

const folder = '/store';
const sessionTimeoutMs = 4_000;
/** An operator sees so soon that something is missing. */
const configureMs = 30_000;
/** A clock that jumps is days ahead: parts of uploads are old then. */
const jumpFactor = 100_000;
/** Why a picture may fail: it cannot be decoded, or workers died at it. */
const unfit = 'It cannot be decoded.';
const deaths = /^1\d workers have died at it$/;

interface Load {
  readonly [name: string]: number;
  readonly servers: number;
  readonly workers: number;
  readonly clients: number;
  /** Of each client. */
  readonly pictures: number;
  readonly bytes: number;
  readonly chunkBytes: number;
  /** What keeps a name: 0: a sync of its folder; 1: only one of the file, as on GlusterFS. */
  readonly gluster: number;
  /** After so many bytes the group begins a new log, and newcomers get its state. */
  readonly closeBytes: number;
  /** Each so-manieth picture is given up after one try; 0: none. */
  readonly givenUp: number;
  /** Which picture, by its number, no worker can decode; whether two clients upload the first at once, and whether one does so with other keywords. 0: none. */
  readonly unfit: number;
  readonly shared: number;
  readonly conflicting: number;
}

export const simulatedImageTagging: SimulatedSystem<Load> = {
  name: 'image-tagging',
  kinds: [
    ...brokerKinds,
    ...outageKinds,
    ...timeKinds,
    'lands late',
    'cut from registry',
    'all machines off',
    'disk error',
    'disk full',
  ],
  workload: (random) => ({
    servers: random.integer(1, 3),
    workers: random.integer(1, 2),
    clients: random.integer(1, 3),
    pictures: random.integer(1, 3),
    bytes: random.pick([40, 300, 1_000]),
    chunkBytes: random.pick([100, 400]),
    gluster: random.integer(0, 1),
    closeBytes: random.pick([1_500, 6_000, 100_000]),
    givenUp: random.pick([0, 0, 1, 2]),
    unfit: random.pick([0, 0, 0, 1, 2]),
    shared: random.pick([0, 1]),
    conflicting: random.pick([0, 0, 1]),
  }),
  least: {
    ...{ servers: 1, workers: 1, clients: 1, pictures: 1, bytes: 40, chunkBytes: 100, gluster: 0 },
    ...{ closeBytes: 1_500, givenUp: 0, unfit: 0, shared: 0, conflicting: 0 },
  },
  faultsForMs: 10_000,
  // Outages of up to ten minutes are over by then.
  settleMs: 180_000,
  liveness: 'Each upload that is tried again succeeds and is tagged, and servers have no clients then',
  promises: [
    'An upload that was answered is never lost',
    'An upload that was answered is tagged in the end',
    'One key is one upload',
    'A key that is uploaded again gives the same id',
    'A picture comes back byte for byte',
    'A picture is found by its keywords, once',
    'A job is of a picture that is stored',
    'What the group knows is safe in the folder',
    'A result is safe in the folder before it is known',
  ],
  prepare: async (load) => (world) => new Run(world, load).run(),
};

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A picture as far as servers look: the header of a PNG. */
function makeWish(number: number, load: Load): Wish {
  const head = Buffer.from('89504e470d0a1a0a0000000d4948445200000004000000030802000000', 'hex');
  const bytes = Buffer.concat([head, Buffer.alloc(load.bytes - head.length, `${number} `)]);
  const keywords = number === load.unfit ? ['unfit'] : [`lake-${number}`];
  const header = { key: `the-key-of-picture-${number}`, fileName: `${number}.png`, bytes: bytes.length, sha256: sha256Of(bytes) };
  return { header: { ...header, keywords }, bytes, givesUp: load.givenUp > 0 && number % load.givenUp === 0 };
}

/** What each client wants. */
function wishesOf(load: Load): Wish[][] {
  const { clients, pictures, shared, conflicting } = load;
  const lists = Array.from({ length: clients }, (_, client) =>
    Array.from({ length: pictures }, (_, index) => makeWish(1 + client * pictures + index, load)),
  );
  const [first] = lists[0]!;
  const last = lists.at(-1)!;
  if (shared > 0) last.unshift(first!);
  if (conflicting > 0) last.unshift({ ...first!, header: { ...first!.header, keywords: ['another'] } });
  return lists;
}

/** What a worker makes of a picture. */
const tagged = (original: Uint8Array, keywords: readonly string[]): Buffer =>
  Buffer.concat([original, Buffer.from(keywords.join())]);

/** Tagged, or failed for a reason of its own. */
const isDone = ({ state, keywords, reason = '' }: Picture): boolean =>
  state === 'tagged'
    ? !keywords.includes('unfit')
    : state === 'failed' && (deaths.test(reason) || (reason === unfit && keywords.includes('unfit')));

/** What a worker throws at a picture that cannot be decoded. */
class Unfit extends Error {}

class Run {
  readonly #world: World;
  readonly #load: Load;
  readonly #broker: SimulatedBroker;
  readonly #registry: SimulatedRegistry;
  readonly #disk: SimulatedDisk;
  /** Of the machines that servers are on. */
  readonly #time: TimeOfDay;
  readonly #network: { readonly registries: SimulatedCalls<RegistryRole>; readonly servers: SimulatedCalls<ServerRole> };
  readonly #wishes: readonly (readonly Wish[])[];
  /** Of members that live. */
  readonly #members = new Map<string, GroupCatalog>();
  /** What clients wanted whose upload was answered, by id. */
  readonly #answered = new Map<string, Wish>();
  /** A call has failed at a server that lives: what it had stored by then, only the next leader tells the group. */
  #isUntold = false;
  readonly #broken = Promise.withResolvers<never>();

  constructor(world: World, load: Load) {
    this.#world = world;
    this.#load = load;
    this.#wishes = wishesOf(load);
    this.#broker = new SimulatedBroker(world, describeMessage);
    this.#registry = new SimulatedRegistry(world, sessionTimeoutMs);
    this.#time = new TimeOfDay(world.clock, 0);
    this.#disk = new SimulatedDisk(world, {
      namesSyncedBy: load.gluster === 1 ? 'file' : 'folder',
      nowMs: () => this.#time.nowMs(),
    });
    const onError = (error: unknown): void => this.#noteError(error);
    this.#network = { registries: new SimulatedCalls(world, onError), servers: new SimulatedCalls(world, onError) };
  }

  async run(): Promise<void> {
    this.#world.start('configurator', (life) => this.#configure(life));
    for (const name of this.#names('svc', this.#load.servers)) this.#world.start(name, (life) => this.#startServer(life));
    for (const name of this.#names('worker', this.#load.workers)) this.#world.start(name, (life) => this.#startWorker(life));
    this.#world.start('registry', (life) => this.#startRegistry(life));
    await Promise.race([this.#work(), this.#broken.promise]);
  }

  async #work(): Promise<void> {
    await Promise.all(this.#wishes.map((wishes, index) => this.#startClient(`client-${index + 1}`, wishes)));
    await this.#world.healed();
    const stored = await this.#storedIds();
    const knows = (id: string): boolean => this.#members.get('registry')?.catalog.picture(id) !== undefined;
    await this.#world.when(() => this.#isQuiet() && (this.#isUntold || stored.every(knows)));
    this.#checkCatalogs();
    await this.#checkReading();
    this.#killLeader();
    await this.#world.when(() => this.#isQuiet() && stored.every(knows));
    this.#checkCatalogs();
    for (const left of this.#disk.fake.crashStates(1, this.#world.random)) await this.#checkFolder(left);
  }

  /** Run again whenever something is missing. */
  async #configure(life: Life): Promise<void> {
    const broker = this.#broker.connect(life);
    const declare = (): void => void broker.declare(topologyOf(defaultNames)).catch((error: unknown) => life.fail(error));
    declare();
    life.clock.every(configureMs, declare);
  }

  #names(role: string, count: number): string[] {
    return Array.from({ length: count }, (_, index) => `${role}-${index + 1}`);
  }

  async #startRegistry(life: Life): Promise<void> {
    const role = new RegistryRole({ members: this.#join(life, this.#broker.connect(life)), clock: life.clock });
    this.#network.registries.listen(registryAddress, life, role);
    this.#time.strikeWith(life, jumpFactor);
    await role.start();
  }

  async #startServer(life: Life): Promise<void> {
    const { clock, name } = life;
    const broker = this.#broker.connect(life);
    const role = new ServerRole({
      ...{ clock, broker, idOf, log: silentLogger, names: defaultNames, limitBytes: 1e6, limitPixels: 1e6 },
      store: await this.#openStore(life),
      members: this.#join(life, broker),
      nowMs: () => this.#time.nowMs(),
      address: () => name,
    });
    this.#network.servers.listen(name, life, role);
    await role.start();
  }

  async #startWorker(life: Life): Promise<void> {
    const { clock } = life;
    const broker = this.#broker.connect(life);
    const disk = this.#disk.mount(life);
    const role = new WorkerRole({
      ...{ clock, broker, log: silentLogger, queue: defaultNames.queue, prefetch: 2 },
      store: await this.#openStore(life),
      members: this.#join(life, broker),
      tag: async (input, output, keywords) => {
        const made = tagged(await disk.readFile(input), keywords);
        if (keywords.includes('unfit')) throw new Unfit();
        await disk.writeFile(output, made);
        return { bytes: made.length, sha256: sha256Of(made) };
      },
      faultOf: (error) => (error instanceof Unfit ? unfit : undefined),
    });
    role.failed.catch((error: unknown) => life.fail(error));
    await role.start();
  }

  #openStore(life: Life): Promise<PictureStore> {
    let ids = 0;
    return PictureStore.open(folder, this.#disk.mount(life), () => `${life.name}-${life.number}-${++ids}`);
  }

  #join(life: Life, broker: Broker): GroupCatalog {
    const { clock, name, number } = life;
    let ids = 0;
    const newId = (): string => `${name.replace('-', '')}x${number}x${++ids}`;
    const group = makeLogGroup({
      broker,
      discovery: this.#registry.connect(life),
      clock,
      newToken: newId,
      closeBytes: this.#load.closeBytes,
    });
    const members = new GroupCatalog({ group, groupName: 'images', memberName: name, clock, newId });
    members.failed.catch((error: unknown) => this.#broken.reject(error));
    this.#members.set(name, members);
    life.onEnd(() => {
      if (this.#members.get(name) === members) this.#members.delete(name);
    });
    return members;
  }

  /** Resolves when all that it wants is stored, or given up. It may die meanwhile: then it is started again, and tries the same again. */
  #startClient(name: string, wishes: readonly Wish[]): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let done = 0;
    this.#world.start(name, async (life) => {
      const client = new SimulatedClient(life, this.#network, this.#load.chunkBytes);
      for (; done < wishes.length; done++) {
        await sleep(life.clock, life.random.pick([0, 0, 500, 3_000]));
        this.#broker.strikeQueue(defaultNames.queue, life, life.place('upload', 'picture'), '');
        await this.#fulfil(client, wishes[done]!).catch((error: unknown) => this.#broken.reject(error));
      }
      resolve();
    });
    return promise;
  }

  async #fulfil(client: SimulatedClient, wish: Wish): Promise<void> {
    const upload = (address: string): Promise<string> => client.upload(address, wish, () => this.#noteAnswer(wish));
    const { key, fileName } = wish.header;
    if (wish.givesUp) return void (await client.once(upload).catch(() => undefined));
    try {
      const id = await client.patiently(upload);
      if (id !== idOf(key)) throw new PromiseBroken('A key that is uploaded again gives the same id', `${id} for ${key}`);
    } catch (error) {
      const isOthers = codeOf(error) === status.ALREADY_EXISTS && this.#load.conflicting > 0;
      if (isOthers && key === this.#wishes[0]![0]!.header.key) return;
      throw error;
    }
    const bytes = await client.patiently((address) => client.download(address, idOf(key), true));
    this.#expectBytes(bytes, wish.bytes, fileName);
  }

  #noteError(error: unknown): void {
    const { code } = errorOf(error, silentLogger);
    if (code === status.INTERNAL) this.#broken.reject(error);
    this.#isUntold ||= code === status.UNAVAILABLE;
  }

  #noteAnswer(wish: Wish): void {
    const id = idOf(wish.header.key);
    const other = this.#answered.get(id)?.header ?? wish.header;
    if (!isSameUpload(other, wish.header))
      this.#broken.reject(new PromiseBroken('One key is one upload', `${id} was answered to ${other.keywords.join()}, too`));
    this.#answered.set(id, wish);
  }

  #expectBytes(bytes: Buffer, expected: Buffer, what: string): void {
    if (!bytes.equals(expected))
      throw new PromiseBroken('A picture comes back byte for byte', `not so ${what}: ${bytes.length} bytes`);
  }

  /** All members live, know each other and the same, nobody serves anybody, and nothing is left to be done. */
  #isQuiet(): boolean {
    const { servers, workers } = this.#load;
    const members = [...this.#members.values()];
    const entries = this.#members.get('registry')?.catalog.servers() ?? [];
    const { server } = this.#broker;
    return (
      members.length === servers + workers + 1 &&
      members.every(({ view }) => view?.members.length === members.length) &&
      entries.length === servers &&
      entries.every(({ address, activeClients }) => address !== undefined && activeClients === 0) &&
      members.every(({ catalog }) => catalog.pending.length === 0) &&
      server.depth(defaultNames.queue) === 0 &&
      new Set(members.map(({ catalog }) => JSON.stringify(catalog.snapshot()))).size === 1
    );
  }

  /** What was answered all members know, and it is tagged. */
  #checkCatalogs(): void {
    const { catalog } = this.#members.get('registry')!;
    for (const [id, { header }] of this.#answered) {
      const picture = catalog.picture(id);
      if (picture === undefined || !isSameUpload(picture, header))
        throw new PromiseBroken('An upload that was answered is never lost', `the group has not ${header.fileName}, ${id}`);
      if (!isDone(picture)) throw new PromiseBroken('An upload that was answered is tagged in the end', JSON.stringify(picture));
    }
    const dead = this.#broker.server.depth(deadLettersOf(defaultNames.queue));
    if (dead > 0) throw new PromiseBroken('A job is of a picture that is stored', `${dead} jobs are not`);
  }

  /** Clients find all, and get it byte for byte. */
  #checkReading(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { catalog } = this.#members.get('registry')!;
    const read = async (life: Life): Promise<void> => {
      const client = new SimulatedClient(life, this.#network, this.#load.chunkBytes);
      for (const [id, { header, bytes }] of this.#answered) {
        const { fileName, keywords } = header;
        const original = await client.patiently((address) => client.download(address, id, true));
        this.#expectBytes(original, bytes, fileName);
        const marked = await client.patiently((address) => client.download(address, id, false));
        const isTagged = catalog.picture(id)!.state === 'tagged';
        this.#expectBytes(marked, isTagged ? tagged(bytes, keywords) : bytes, `${fileName}, tagged`);
        const found = await client.patiently((address) => client.list(address, keywords[0]!));
        if (found.filter((each) => each === id).length !== 1)
          throw new PromiseBroken('A picture is found by its keywords, once', `${fileName} is not: ${found.join()}`);
      }
    };
    this.#world.start('reader', (life) => read(life).then(resolve, reject));
    return promise;
  }

  async #storedIds(): Promise<string[]> {
    const store = await PictureStore.open(folder, this.#disk.fake);
    return collect(store.ids());
  }

  /** The next one tells the group what only the folder knows, and has it tagged. */
  #killLeader(): void {
    const { view, leaderId } = this.#members.get('registry')!;
    this.#world.life(view!.members.find(({ id }) => id === leaderId)!.name)!.die(1_000);
  }

  /** Should all lose their power now, the folder has all that the group knows. */
  async #checkFolder(left: FakeDisk): Promise<void> {
    const { catalog } = this.#members.get('registry')!;
    const store = await PictureStore.open(folder, left);
    for (const { id } of catalog.snapshot().pictures) {
      const picture = catalog.picture(id)!;
      const wish = this.#wishes.flat().find(({ header }) => idOf(header.key) === id && isSameUpload(picture, header));
      const upload = await store.stored(id);
      if (wish === undefined || upload === undefined || !isSameUpload(upload, wish.header))
        throw new PromiseBroken('What the group knows is safe in the folder', `${picture.fileName}, ${id}, is not`);
      this.#expectBytes(await left.readFile(store.originalPath(id)), wish.bytes, upload.fileName);
      const result = await store.result(id);
      const known = picture.tagged === undefined ? { reason: picture.reason } : { tagged: picture.tagged };
      if (!isDeepStrictEqual(result, known))
        throw new PromiseBroken(
          'A result is safe in the folder before it is known',
          `${JSON.stringify(result)} is, of ${JSON.stringify(known)}`,
        );
      if (picture.tagged === undefined) continue;
      const made = await left.readFile(store.taggedPath(id, picture.tagged.name));
      this.#expectBytes(made, tagged(wish.bytes, upload.keywords), `${upload.fileName}, tagged`);
    }
  }
}
