/**
 * Runs the server of a database machine: makes its folder if there is none, closes it to clients, starts it under a new boot id. It is never asked to stop: a
 * server that shuts down tells waiting clients OK for rows that no other machine has. It is closed and killed.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ExitError, type Logger, type Role } from '@lab/process';
import { ended, run } from './command.ts';
import { killServer } from './fence.ts';
import { pidFile, socketFile, type Folders } from './folders.ts';
import type { Door } from './port.ts';

export interface ServerParts {
  readonly name: string;
  readonly address: string;
  readonly folders: Folders;
  readonly accounts: Accounts;
  readonly door: Door;
  readonly newId: () => string;
  readonly log: Logger;
}

export interface Accounts {
  readonly databaseName: string;
  readonly databasePassword: string;
  readonly replicationPassword: string;
  readonly backupPassword: string;
}

const configFile = join(import.meta.dirname, '../../deploy/mariadb.cnf');
/** On a slow disk it takes 5 s. */
const installMs = 120_000;

export class MariadbServer implements Role {
  readonly failed: Promise<never>;
  readonly #parts: ServerParts;
  readonly #failure = Promise.withResolvers<never>();
  #server: ChildProcess | undefined;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.failed = this.#failure.promise;
    this.failed.catch(() => undefined);
  }

  async start(): Promise<void> {
    const { door, folders, log } = this.#parts;
    await door.close();
    // Left by one like this that was killed.
    if (await killServer(pidFile)) log.warn({}, 'killed a server that nobody looked after');
    await prepareFolders(folders);
    const initFile = await writeInitFile(this.#parts);
    const server = spawn('mariadbd', [...(await this.#arguments()), `--init-file=${initFile}`], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    server.stderr.pipe(process.stderr);
    this.#server = server;
    ended(server, 'mariadbd').then(
      () => this.#failure.reject(new ExitError('mariadbd has ended')),
      (error: Error) => this.#failure.reject(new ExitError(error.message.split('\n')[0]!)),
    );
  }

  async stop(): Promise<void> {
    await this.#parts.door.close();
    const server = this.#server;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  }

  async #arguments(): Promise<string[]> {
    const { name, address, folders, newId } = this.#parts;
    return [
      `--defaults-file=${configFile}`,
      `--datadir=${folders.server}`,
      `--server-id=${serverIdOf(address)}`,
      // The replica tells it to the primary when it connects: so the primary knows which life of which server acknowledges.
      `--report-host=${name}.${newId()}`,
    ];
  }
}

/** Every machine of the network has another one. */
const serverIdOf = (address: string): number => address.split('.').reduce((id, part) => id * 256 + Number(part), 0);

/** In each case a crash on the way leaves what is done again. */
async function prepareFolders(folders: Folders): Promise<void> {
  await makeFolder(dirname(pidFile));
  if (existsSync(folders.discardFile)) {
    await writeFile(folders.emptyFile, '');
    if (existsSync(folders.server)) {
      await rm(folders.previous, { recursive: true, force: true });
      await rename(folders.server, folders.previous);
    }
    await rm(folders.discardFile);
  }
  // Half filled is not filled.
  if (existsSync(folders.emptyFile)) await rm(folders.server, { recursive: true, force: true });
  if (existsSync(folders.server)) return;
  await mkdir(dirname(folders.emptyFile), { recursive: true });
  await writeFile(folders.emptyFile, '');
  await makeFolder(folders.server);
  await installDatabase(folders.server, `--defaults-file=${configFile}`);
}

/** Makes MariaDB's own tables in a folder that is empty and its user's. */
export async function installDatabase(folder: string, defaults: string): Promise<void> {
  const options = ['--user=mysql', `--datadir=${folder}`, '--skip-test-db', '--auth-root-authentication-method=socket'];
  await run('mariadb-install-db', [defaults, ...options], installMs);
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  const [uid, gid] = await userOfMariadb();
  const now = await stat(path);
  if (now.uid !== uid) await chown(path, uid, gid);
}

/** Who owns the server's folders. */
export async function userOfMariadb(): Promise<[uid: number, gid: number]> {
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((each) => each.startsWith('mysql:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined)
    throw new ExitError('there is no user mysql on this machine: install mariadb-server');
  return [Number(uid), Number(gid)];
}

/**
 * Accounts and the agent's own tables, at each start: passwords follow the settings. Outside of the history, for both databases have them without each other. The
 * application's account may change nothing beyond its database, or read_only would not hold it; it reads the epochs to know an old primary.
 */
async function writeInitFile({ accounts }: ServerParts): Promise<string> {
  const { databaseName, databasePassword, replicationPassword, backupPassword } = accounts;
  const copying = 'SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, RELOAD, BINLOG MONITOR, SLAVE MONITOR, REPLICATION SLAVE';
  const statements = [
    'SET sql_log_bin = 0',
    `CREATE DATABASE IF NOT EXISTS ${databaseName} CHARACTER SET utf8mb4`,
    'CREATE DATABASE IF NOT EXISTS ha',
    'CREATE TABLE IF NOT EXISTS ha.epochs (epoch INT PRIMARY KEY, name VARCHAR(40) NOT NULL, began_after VARCHAR(60) NOT NULL, at TIMESTAMP NOT NULL DEFAULT NOW())',
    'CREATE TABLE IF NOT EXISTS ha.markers (server_id BIGINT PRIMARY KEY, mark BIGINT NOT NULL)',
    `CREATE OR REPLACE USER app@'%' IDENTIFIED BY '${databasePassword}'`,
    `GRANT ALL ON ${databaseName}.* TO app@'%'`,
    `GRANT SELECT ON ha.epochs TO app@'%'`,
    `CREATE OR REPLACE USER repl@'%' IDENTIFIED BY '${replicationPassword}'`,
    `GRANT ${copying} ON *.* TO repl@'%'`,
    `CREATE OR REPLACE USER backup@'%' IDENTIFIED BY '${backupPassword}'`,
    `GRANT ${copying} ON *.* TO backup@'%'`,
  ];
  const file = join(dirname(socketFile), 'init.sql');
  await writeFile(file, statements.map((statement) => `${statement};\n`).join(''), { mode: 0o600 });
  await chmod(file, 0o600);
  await chown(file, ...(await userOfMariadb()));
  return file;
}
