/** What must have happened before an upload is answered or a job acknowledged: each with the mistakes that a test of it must find. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryGroups } from '@lab/group';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { silentLogger, systemClock } from '@lab/process';
import { eventually, makeMutant, type Mistake } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Upload } from '../src/domain/catalog.ts';
import { GroupCatalog } from '../src/group-catalog.ts';
import { encodeJob } from '../src/messages.ts';
import type { UploadPart } from '../src/roles/incoming.ts';
import { ServerRole } from '../src/roles/server.ts';
import { WorkerRole } from '../src/roles/worker.ts';
import { PictureStore } from '../src/store/picture-store.ts';
import { defaultNames, topologyOf } from '../src/topology.ts';
import { picture } from './pictures.ts';

const id = 'abcdefghijklmnopqr27';
const sha256 = createHash('sha256').update(picture).digest('hex');
const header = { key: 'the-key-of-this-upload', fileName: 'a.jpg', bytes: picture.length, sha256, keywords: ['lake'] };
const upload: Upload = {
  ...{ id, fileName: 'a.jpg', bytes: picture.length, sha256, keywords: ['lake'], mediaType: 'image/jpeg' },
  ...{ width: 64, height: 48, uploadedMs: 5 },
};

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'order-'))));
afterEach(() => eventually(() => rm(folder, { recursive: true, force: true }).then(() => true)));

/** What does not wait for the gate is done within a few turns of the event loop; so many are enough for any. */
const turns = 50;

class Gate {
  readonly #asked = Promise.withResolvers<void>();
  readonly #opened = Promise.withResolvers<void>();
  readonly asked = this.#asked.promise;

  /** For whoever is held. */
  pass(): Promise<void> {
    this.#asked.resolve();
    return this.#opened.promise;
  }

  open(): void {
    this.#opened.resolve();
  }

  /** Resolves when somebody is held, and everybody else has done what they can. */
  async holds(): Promise<void> {
    await this.asked;
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

const groups = () => makeMemoryGroups({ clock: systemClock, newToken: () => crypto.randomUUID() });
const membersOptions = { groupName: 'images', clock: systemClock, newId: () => crypto.randomUUID() };
const host = { clock: systemClock, nowMs: () => 5, log: silentLogger };

/** Runs a copy of the sources with one mistake. */
async function withMistake<T>(mistake: Omit<Mistake, 'rule'>, use: (module: Record<string, T>) => Promise<void>): Promise<void> {
  using mutant = makeMutant(join(import.meta.dirname, '../src'), mistake);
  await use((await mutant.import(mistake.file)) as Record<string, T>);
}

async function putPicture(store: PictureStore): Promise<void> {
  const partial = await store.resume(id, upload);
  await partial.append(picture);
  await partial.commit(upload);
  await partial.close();
}

describe('an upload', () => {
  async function runUpload(Server: typeof ServerRole): Promise<void> {
    const [gate, group, memory] = [new Gate(), groups().connect(), makeMemoryServer().connect()];
    await memory.declare(topologyOf(defaultNames));
    const broker: Broker = { ...memory, lost: memory.lost, publish: (job) => gate.pass().then(() => memory.publish(job)) };
    // By its name it never leads: a leader publishes jobs of its own accord.
    const members = new GroupCatalog({ ...membersOptions, group, memberName: 'follower' });
    const store = await PictureStore.open(join(folder, 'store'));
    const limits = { limitBytes: 2 ** 31, limitPixels: 1e8 };
    const server = new Server({
      ...host,
      ...limits,
      members,
      broker,
      store,
      names: defaultNames,
      address: () => 'a:1',
      idOf: () => id,
    });
    async function* parts(): AsyncGenerator<UploadPart> {
      yield { header };
      yield { chunk: picture };
    }
    let answer: string | undefined;
    const uploading = async (): Promise<void> => {
      for await (const each of server.upload(parts())) if ('id' in each) answer = each.id;
    };
    await server.start();
    try {
      const uploaded = uploading();
      await gate.holds();
      expect(answer).toBeUndefined();
      gate.open();
      await uploaded;
      expect(answer).toBe(id);
    } finally {
      gate.open();
      await server.stop();
      await group.close();
    }
  }

  it('is answered when the broker has confirmed its job', () => runUpload(ServerRole));

  it('is found out when it is answered before', async () => {
    const mistake = {
      file: 'roles/server.ts',
      right: "'pending') await this.#publishJob",
      wrong: "'pending') void this.#publishJob",
    };
    await withMistake<typeof ServerRole>(mistake, async ({ ServerRole: Mutant }) => {
      await expect(runUpload(Mutant!)).rejects.toThrow('to be undefined');
    });
  });
});

describe('a job', () => {
  async function runJob(Worker: typeof WorkerRole): Promise<void> {
    const [gate, group, memory] = [new Gate(), groups().connect(), makeMemoryServer()];
    const broker = memory.connect();
    await broker.declare(topologyOf(defaultNames));
    class HeldCatalog extends GroupCatalog {
      override tell(event: Parameters<GroupCatalog['tell']>[0]): ReturnType<GroupCatalog['tell']> {
        return gate.pass().then(() => super.tell(event));
      }
    }
    const members = new HeldCatalog({ ...membersOptions, group, memberName: 'worker-1' });
    const store = await PictureStore.open(join(folder, 'store'));
    await putPicture(store);
    const tag = async (_: string, output: string): Promise<{ bytes: number; sha256: string }> => {
      await writeFile(output, picture);
      return { bytes: picture.length, sha256 };
    };
    const { exchange, routingKey, queue } = defaultNames;
    const worker = new Worker({ ...host, members, broker, store, queue, prefetch: 1, tag, faultOf: () => undefined });
    await worker.start();
    try {
      await broker.publish({ exchange, routingKey, body: encodeJob({ id, keywords: ['lake'] }) });
      await gate.holds();
      expect(memory.depth(queue)).toBe(1);
      gate.open();
      await eventually(() => memory.depth(queue) === 0);
    } finally {
      gate.open();
      await worker.stop();
      await group.close();
    }
  }

  it('is acknowledged when the group has been told of its result', () => runJob(WorkerRole));

  it('is found out when it is acknowledged before', async () => {
    const mistake = { file: 'roles/worker.ts', right: 'await members.tell(', wrong: 'void members.tell(' };
    await withMistake<typeof WorkerRole>(mistake, async ({ WorkerRole: Mutant }) => {
      await expect(runJob(Mutant!)).rejects.toThrow('expected +0 to be 1');
    });
  });
});
