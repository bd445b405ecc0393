/** The system of compose.yaml, in containers, under a project and a port of its own, and a container in its network from which clients reach it: what the suites do harm to. */
import { once } from 'node:events';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { eventually } from '@lab/testing';
import { ComposeSystem, docker, testEnvironment } from '@lab/testing/containers';
import type { Uploaded } from '../src/client/picture-client.ts';
import type { Server } from '../src/generated/lab/images/v1/images.ts';

const directory = join(import.meta.dirname, '..');
/** Where the clients' container has `folder`. */
export const here = '/here';

/** As `list --json` and `status --json` give it. */
export interface ListedPicture {
  readonly id: string;
  readonly fileName: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly keywords: readonly string[];
  readonly state: string;
  readonly reason?: string;
  readonly taggedSha256?: string;
}

export interface DownloadedFile {
  /** Of this machine. */
  readonly path: string;
  readonly tagged: boolean;
  /** Of what is in the file, taken here; where there is nothing to be had, why. */
  readonly sha256: string;
}

/** As the clients' container has it. */
type Received = Pick<DownloadedFile, 'path' | 'tagged'> & { readonly problem?: string };

export class ImageComposeSystem extends ComposeSystem {
  readonly #clients: string;
  /** Of this machine, and the clients' too: for pictures, and for what is downloaded. */
  readonly folder: string;

  private constructor(env: Record<string, string>, folder: string) {
    super(directory, env);
    this.#clients = `${this.project}-clients`;
    this.folder = folder;
  }

  /** Starts it anew, without any picture; resolves when every role takes work. */
  static async start(name: string): Promise<ImageComposeSystem> {
    const system = new ImageComposeSystem(await testEnvironment(directory, name), await newFolder());
    await system.startAnew();
    return system;
  }

  /** Clients of a system that runs, which stays there when they `leave`. */
  static async beside(project: string): Promise<ImageComposeSystem> {
    const system = new ImageComposeSystem({ COMPOSE_PROJECT_NAME: project }, await newFolder());
    await system.#startClients();
    return system;
  }

  /** Clients and their folder are gone. */
  async leave(): Promise<void> {
    await this.#removeClients();
    await rm(this.folder, { recursive: true, force: true });
  }

  override async up(): Promise<void> {
    await super.up();
    await this.#startClients();
  }

  async #startClients(): Promise<void> {
    await this.#removeClients();
    const image = await docker('inspect', '--format', '{{.Config.Image}}', this.container('registry').id);
    const user = `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`;
    const mount = ['--volume', `${this.folder}:${here}`, '--user', user];
    const network = ['--network', `${this.project}_default`];
    const options = ['--detach', '--init', '--name', this.#clients, ...network, ...mount];
    await docker('run', ...options, '--entrypoint', 'sleep', image, 'infinity');
  }

  override async down(...args: readonly string[]): Promise<void> {
    await this.#removeClients();
    await super.down(...args);
  }

  async #removeClients(): Promise<void> {
    await docker('rm', '--force', this.#clients);
  }

  /** Runs a script in a service's container; what it prints. */
  inside(service: string, script: string, ...options: readonly string[]): Promise<string> {
    return docker('exec', ...options, this.container(service).id, 'bash', '-c', script);
  }

  /** A client's command, as a program calls it, in a process of its own; rejects with what it said. */
  async client<T>(...args: readonly string[]): Promise<T> {
    const command = ['node', 'src/main.ts', 'client', ...args, '--registry', 'registry:8000', '--json'];
    return JSON.parse(await docker('exec', this.#clients, ...command)) as T;
  }

  /**
   * Starts a module beside the clients, with the app's sources and packages; `args` are its `process.argv` from 1 on. For what would be too much for a process each: Node alone
   * takes a third of a second to start.
   */
  start(module: string, ...args: readonly string[]): ChildProcessByStdio<Writable, Readable, null> {
    const command = ['exec', '--interactive', this.#clients, 'node', '--input-type=module', '--eval', module, '--', ...args];
    return spawn('docker', command, { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  /** The same, to its end; what it printed, which is JSON. */
  async program<T>(module: string, ...args: readonly string[]): Promise<T> {
    const child = this.start(module, ...args);
    const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'close') as Promise<[number | null]>]);
    if (code !== 0) throw new Error(`a program beside the clients ended with ${code}`);
    return JSON.parse(printed) as T;
  }

  /** Of a file in `folder`. */
  upload(name: string, keywords: readonly string[], ...options: readonly string[]): Promise<Uploaded> {
    return this.client('upload', `${here}/${name}`, '--keywords', keywords.join(','), ...options);
  }

  readonly status = (id: string): Promise<ListedPicture> => this.client('status', id);
  readonly list = (): Promise<ListedPicture[]> => this.client('list');
  readonly search = (keyword: string): Promise<ListedPicture[]> => this.client('search', keyword);
  readonly servers = (): Promise<Server[]> => this.client('servers');

  /** Resolves with the picture when a worker has tagged it. */
  async waitUntilTagged(id: string): Promise<ListedPicture> {
    return eventually(
      async () => {
        const picture = await this.status(id);
        if (picture.state !== 'tagged') throw new Error(`${picture.fileName} is ${picture.state}: ${picture.reason}`);
        return picture;
      },
      { timeoutMs: 60_000, intervalMs: 200 },
    );
  }

  async download(id: string, ...args: readonly string[]): Promise<DownloadedFile> {
    const { path, tagged } = await this.client<DownloadedFile>('download', id, '--to', here, ...args);
    return this.#received({ path, tagged });
  }

  /** Many pictures, eight at a time, by one client, in the order of the ids. */
  async downloadAll(ids: readonly string[], options: { original: boolean }): Promise<DownloadedFile[]> {
    const files = await this.program<Received[]>(downloads, here, String(options.original), ...ids);
    return Promise.all(files.map((file) => this.#received(file)));
  }

  async #received({ path, tagged, problem }: Received): Promise<DownloadedFile> {
    if (problem !== undefined) return { path, tagged, sha256: problem };
    const local = join(this.folder, path.slice(here.length));
    return { path: local, tagged, sha256: await sha256Of(local) };
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await this.leave();
  }
}

/** That the user of the clients' container may read. */
async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'images-'));
  await chmod(folder, 0o755);
  return folder;
}

const downloads = `
  import { PictureClient } from './src/client/picture-client.ts';
  const [to, original, ...ids] = process.argv.slice(1);
  const client = new PictureClient({ registry: 'registry:8000', patienceMs: 60_000 });
  const received = (id) =>
    client.download(id, to, original === 'true').then(
      ({ path, tagged }) => ({ path, tagged }),
      ({ message }) => ({ path: '', tagged: false, problem: message }),
    );
  const files = [];
  while (ids.length > 0) files.push(...(await Promise.all(ids.splice(0, 8).map(received))));
  client.close();
  console.log(JSON.stringify(files));
`;

export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
