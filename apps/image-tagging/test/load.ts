/** `npx nx load image-tagging`: clients that upload one picture after the other to the system in containers, and what they were promised. */
import { createHash, randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from '@lab/testing';
import { Promised, Refused, type LoadClient, type Workload } from '@lab/testing/load';
import { loadProgram } from '@lab/testing/load-program';
import { makePicture } from '../data/make.ts';
import { idOf } from '../src/wiring.ts';
import { here, ImageComposeSystem, type ListedPicture } from './compose-system.ts';

/** An upload that was answered. */
interface Answered {
  readonly sha256: string;
  readonly keywords: readonly string[];
  /** It came back byte for byte, as it was and tagged. */
  isReadBack: boolean;
}

/** Uploads that have one keyword, by which they are found, checked together and then forgotten: some 300 bytes each. */
const batchMax = 5_000;
/** Jobs that wait, and what a worker held that died, are done by then. */
const taggedMs = 120_000;
/** Files of a check on this machine. */
const filesMax = 50;

class Batch {
  readonly keyword = `load-${randomUUID().slice(0, 8)}`;
  readonly answered = new Map<string, Answered>();
  /** Ids of uploads without an answer: they may be there or not. */
  readonly unsure = new Set<string>();
}

/** What was looked at, and what is wrong with it, if anything. */
type Finding = readonly [promised: Promised, broken: string | undefined];

export class UploadLoad implements Workload {
  readonly #neverLost = new Promised('an upload that was answered is never lost', 'uploads come back byte for byte');
  readonly #tagged = new Promised('it is tagged in the end', 'uploads are found by keyword, and come back tagged');
  readonly #storedOnce = new Promised('an upload that is tried again is not stored twice', 'pictures are one upload each');
  readonly promises = [this.#neverLost, this.#tagged, this.#storedOnce];
  readonly #system: ImageComposeSystem;
  readonly #batches = [new Batch()];
  #pictures = 0;

  constructor(system: ImageComposeSystem) {
    this.#system = system;
  }

  /** All that was answered and is not forgotten, by its id. */
  get answered(): ReadonlyMap<string, Pick<Answered, 'sha256' | 'keywords'>> {
    return new Map(this.#batches.flatMap((batch) => [...batch.answered]));
  }

  async connect(number: number): Promise<LoadClient> {
    let client = new UploadClient(this.#system);
    return {
      operate: async () => {
        if (this.#batches.length > 2) await this.#forget(this.#batches.shift()!);
        if (client.hasEnded) client = new UploadClient(this.#system);
        await this.#uploadOne(client, number);
      },
      [Symbol.asyncDispose]: async () => client.end(),
    };
  }

  /** Of the last batch but one all have long had their answers. */
  async #forget(batch: Batch): Promise<void> {
    await this.#check(batch).catch((error: unknown) => {
      this.#batches.unshift(batch);
      throw error;
    });
  }

  async #uploadOne(client: UploadClient, number: number): Promise<void> {
    const name = `${randomUUID()}.jpg`;
    const picture = await makePicture({ seed: ++this.#pictures, width: 320, height: 240, format: 'jpeg' });
    // What is behind a JPEG's end makes it another one than those of other loads.
    const bytes = Buffer.concat([picture, Buffer.from(name)]);
    const file = join(this.#system.folder, name);
    await writeFile(file, bytes);
    try {
      const { keywords, answered } = this.begin(name, createHash('sha256').update(bytes).digest('hex'), [`client ${number}`]);
      answered(await client.upload(`${here}/${name}`, keywords, name));
    } finally {
      await rm(file, { force: true });
    }
  }

  /** An upload that begins now, under a key of its own, with these keywords and that of its batch; `answered` is for the id that it got. */
  begin(key: string, sha256: string, keywords: readonly string[]): { keywords: string[]; answered: (id: string) => void } {
    const batch = this.#batches.at(-1)!;
    const all = [batch.keyword, ...keywords];
    batch.unsure.add(idOf(key));
    if (batch.unsure.size + batch.answered.size === batchMax) this.#batches.push(new Batch());
    const answered = (id: string): void => {
      batch.unsure.delete(idOf(key));
      batch.answered.set(idOf(key), { sha256, keywords: all, isReadBack: false });
      if (id !== idOf(key)) this.#storedOnce.breaks(`${key} was answered with ${id}, and is ${idOf(key)}`);
    };
    return { keywords: all, answered };
  }

  /** Clients and their files; the pictures stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#system.leave();
  }

  async check(): Promise<void> {
    for (const batch of this.#batches) await this.#check(batch);
  }

  /** Nothing counts before all of it was asked. */
  async #check(batch: Batch): Promise<void> {
    const listed = await this.#worked(batch);
    const found = new Map(listed.map((picture) => [picture.id, picture]));
    const back = await this.#readBack(batch, found);
    const findings = [
      ...[...batch.answered].map(([id, upload]): Finding => [
        this.#neverLost,
        lossOf(id, upload, found.get(id)) ?? back.get(`${id} original`),
      ]),
      ...[...found.values()].map(({ id, state }): Finding => [
        this.#tagged,
        state === 'tagged' ? back.get(`${id} tagged`) : `${id} is ${state}`,
      ]),
      ...listed.map((picture): Finding => [this.#storedOnce, repeatOf(picture, batch, found)]),
    ];
    for (const [promised, broken] of findings) {
      if (broken === undefined) promised.holds();
      else promised.breaks(broken);
    }
  }

  /** What a search finds when the workers have done all of it, or do not get there. */
  async #worked({ keyword }: Batch): Promise<ListedPicture[]> {
    const look = async (): Promise<ListedPicture[]> => {
      const listed = await this.#system.search(keyword);
      if (listed.some(({ state }) => state === 'pending')) throw new Error('there are pictures that are not tagged yet');
      return listed;
    };
    return eventually(look, { timeoutMs: taggedMs, intervalMs: 500 }).catch(() => this.#system.search(keyword));
  }

  /** Has the bytes of all that has not come back yet; what is wrong with them, by the id and what it is: `original` or `tagged`. */
  async #readBack(batch: Batch, found: ReadonlyMap<string, ListedPicture>): Promise<Map<string, string>> {
    const wrong = new Map<string, string>();
    const unread = [...batch.answered].filter(([id, { isReadBack }]) => !isReadBack && found.has(id));
    for (let from = 0; from < unread.length; from += filesMax) {
      const some = unread.slice(from, from + filesMax);
      const ids = some.map(([id]) => id);
      const originals = await this.#hashes(ids, true);
      const results = await this.#hashes(ids, false);
      for (const [index, [id, upload]] of some.entries()) {
        const [original, result] = [originals[index]!, results[index]!];
        if (original !== upload.sha256) wrong.set(`${id} original`, `${id} does not come back as it was: ${original}`);
        if (result !== found.get(id)!.taggedSha256) wrong.set(`${id} tagged`, `${id} does not come back tagged: ${result}`);
        upload.isReadBack = !wrong.has(`${id} original`) && !wrong.has(`${id} tagged`);
      }
    }
    return wrong;
  }

  async #hashes(ids: readonly string[], original: boolean): Promise<string[]> {
    const files = await this.#system.downloadAll(ids, { original });
    for (const { path } of files) await rm(path, { force: true });
    return files.map(({ sha256 }) => sha256);
  }
}

function lossOf(id: string, { sha256, keywords }: Answered, found: ListedPicture | undefined): string | undefined {
  if (found === undefined) return `${id} was answered, and is not there`;
  if (found.sha256 !== sha256) return `${id} has another content than was answered: ${found.sha256}`;
  const [had, has] = [keywords, found.keywords].map((all) => all.join(', ')) as [string, string];
  return had === has ? undefined : `${id} has the keywords ${has} instead of ${had}`;
}

function repeatOf(picture: ListedPicture, { answered, unsure }: Batch, found: ReadonlyMap<string, ListedPicture>) {
  if (found.get(picture.id) !== picture) return `${picture.id} is listed twice`;
  return answered.has(picture.id) || unsure.has(picture.id) ? undefined : `${picture.id} is the upload of nobody`;
}

/** A client in a process of its own beside the system. */
class UploadClient {
  readonly #child;
  readonly #lines;
  /** Somebody has ended its process. */
  hasEnded = false;

  constructor(system: ImageComposeSystem) {
    this.#child = system.start(uploading);
    this.#child.stdin.on('error', () => undefined);
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Resolves with the id. */
  async upload(file: string, keywords: readonly string[], key: string): Promise<string> {
    this.#child.stdin.write(`${JSON.stringify([file, keywords, key])}\n`);
    const { value } = await this.#lines.next();
    this.hasEnded = value === undefined;
    if (this.hasEnded) throw new Error('the process of the client was ended');
    const answer = JSON.parse(value as string) as { id?: string; message: string; isFinal: boolean };
    if (answer.id !== undefined) return answer.id;
    throw answer.isFinal ? new Refused(answer.message) : new Error(answer.message);
  }

  end(): void {
    this.#child.stdin.end();
  }
}

const uploading = `
  import { createInterface } from 'node:readline';
  import { exitCodes } from '@lab/process';
  import { PictureClient } from './src/client/picture-client.ts';
  const client = new PictureClient({ registry: 'registry:8000', patienceMs: 60_000 });
  for await (const line of createInterface(process.stdin)) {
    const answer = client.upload(...JSON.parse(line)).then(
      ({ id }) => ({ id }),
      ({ message, exitCode }) => ({ message, isFinal: exitCode !== exitCodes.unavailable }),
    );
    console.log(JSON.stringify(await answer));
  }
  process.exit();
`;

if (import.meta.main) {
  const program = {
    directory: join(import.meta.dirname, '..'),
    operation: 'uploads a picture of its own',
    ...{ rate: 2, clients: 4 },
    open: async ({ project }: { project: string }) => new UploadLoad(await ImageComposeSystem.beside(project)),
  };
  process.exit(await loadProgram(program, process));
}
