/** The running server through its socket, as the account root of this machine. One life: when the session ends, whoever uses this has to end, too. */
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '@lab/process';
import type { Replication, ServerState } from './domain/next-step.ts';
import { sequenceOf } from './domain/history.ts';
import { ended, inTurn } from './command.ts';
import { dumpDatabase } from './dump.ts';
import { killServer } from './fence.ts';
import { pidFile, socketFile, type Folders } from './folders.ts';
import type { DatabaseServer, Divergence } from './port.ts';
import { clientTransactions } from './printed-log.ts';
import { Session } from './session.ts';

export interface MariadbOptions {
  readonly folders: Folders;
  readonly peerName: string;
  readonly peerAddress: string;
  readonly replicationPassword: string;
  readonly databaseName: string;
  readonly clock: Clock;
}

/** Two agents would undo each other's work. */
const lockName = 'ha-web.agent';

/** Resolves when the server takes statements and no other agent does; rejects where it does not now. */
export async function connectMariadb(options: MariadbOptions): Promise<DatabaseServer> {
  const connect = (): Promise<Session> => Session.connect({ socketPath: socketFile, user: 'root' }, options.clock);
  const session = await connect();
  const [lock] = await session.rows<{ held: number | null }>(`SELECT GET_LOCK('${lockName}', 0) AS held`);
  if (lock?.held !== 1) {
    session.close();
    throw new Error('another agent has this database');
  }
  return new Mariadb(session, await connect(), options);
}

class Mariadb implements DatabaseServer {
  readonly ended: Promise<never>;
  readonly #session: Session;
  /** For commits, which may wait for the replica. */
  readonly #marker: Session;
  readonly #options: MariadbOptions;

  constructor(session: Session, marker: Session, options: MariadbOptions) {
    this.#session = session;
    this.#marker = marker;
    this.#options = options;
    this.ended = Promise.race([session.ended, marker.ended]);
    this.ended.catch(() => undefined);
  }

  async observe(): Promise<ServerState> {
    const [variables] = await this.#session.rows<Variables>(
      `SELECT @@report_host AS bootId, @@read_only AS readOnly, @@rpl_semi_sync_master_enabled AS semiSync, @@gtid_binlog_pos AS binlogPosition, ` +
        `@@gtid_slave_pos AS applied, (SELECT COALESCE(MAX(epoch), 0) FROM ha.epochs) AS epoch`,
    );
    const status = await this.#status();
    const listeners = await this.#session.rows<{ Host: string }>('SHOW SLAVE HOSTS');
    const [slave] = await this.#session.rows<SlaveStatus>('SHOW SLAVE STATUS');
    const { bootId, readOnly, semiSync, binlogPosition, applied, epoch } = variables!;
    return {
      bootId,
      empty: existsSync(this.#options.folders.emptyFile),
      epoch: Number(epoch),
      writable: readOnly === 0,
      semiSync: semiSync === 1,
      // The backup listens, too.
      replicaBootId: listeners.find(({ Host }) => Host.startsWith(`${this.#options.peerName}.`))?.Host,
      waiting: Number(status.get('RPL_SEMI_SYNC_MASTER_WAIT_SESSIONS')),
      acknowledged: Number(status.get('RPL_SEMI_SYNC_MASTER_YES_TX')),
      position: Math.max(sequenceOf(binlogPosition), sequenceOf(applied)),
      replication: slave && replicationOf(slave, applied, status),
    };
  }

  async #status(): Promise<Map<string, string>> {
    const names = ['COM_START_SLAVE', 'SLAVE_RECEIVED_HEARTBEATS', 'RPL_SEMI_SYNC_MASTER_WAIT_SESSIONS'];
    names.push('RPL_SEMI_SYNC_MASTER_YES_TX', 'RPL_SEMI_SYNC_MASTER_NO_TX');
    const list = names.map((name) => `'${name}'`).join();
    const rows = await this.#session.rows<{ name: string; value: string }>(
      `SELECT variable_name AS name, variable_value AS value FROM information_schema.global_status WHERE variable_name IN (${list})`,
    );
    return new Map(rows.map(({ name, value }) => [name.toUpperCase(), value]));
  }

  async mark(): Promise<string | undefined> {
    const before = await this.#acknowledging();
    await this.#marker.run('INSERT INTO ha.markers VALUES (@@server_id, 1) ON DUPLICATE KEY UPDATE mark = mark + 1', Infinity);
    const after = await this.#acknowledging();
    const sure =
      before.semiSync && after.semiSync && before.replica === after.replica && before.unacknowledged === after.unacknowledged;
    return sure && after.acknowledged > before.acknowledged ? after.replica : undefined;
  }

  async #acknowledging() {
    const { semiSync, replicaBootId, acknowledged } = await this.observe();
    const unacknowledged = (await this.#status()).get('RPL_SEMI_SYNC_MASTER_NO_TX');
    return { semiSync, replica: replicaBootId, acknowledged, unacknowledged };
  }

  setSemiSync(on: boolean): Promise<void> {
    return this.#session.run(`SET GLOBAL rpl_semi_sync_master_enabled = ${on ? 'ON' : 'OFF'}`);
  }

  beginEpoch(epoch: number, primary: string): Promise<void> {
    return this.#session.run(
      `INSERT IGNORE INTO ha.epochs (epoch, name, began_after) VALUES (${epoch}, '${primary}', @@gtid_current_pos)`,
    );
  }

  setWritable(): Promise<void> {
    return this.#session.run('SET GLOBAL read_only = OFF');
  }

  async divergence(epoch: number): Promise<Divergence | 'none' | 'unknown'> {
    const { epoch: known, position } = await this.observe();
    const [own] = await this.#session.rows<{ last: string }>('SELECT @@gtid_current_pos AS last');
    const epochs = await this.#primarysEpochs();
    if (!epochs.some((each) => each.epoch === epoch)) return 'unknown';
    const next = epochs.find((each) => each.epoch > known);
    return next === undefined || position <= sequenceOf(next.common) ? 'none' : { common: next.common, last: own!.last };
  }

  /** In their order; none while it does not answer. */
  async #primarysEpochs(): Promise<{ epoch: number; common: string }[]> {
    const { peerAddress, replicationPassword, clock } = this.#options;
    try {
      using primary = await Session.connect({ host: peerAddress, user: 'repl', password: replicationPassword }, clock);
      return await primary.rows('SELECT epoch, began_after AS common FROM ha.epochs ORDER BY epoch');
    } catch (error) {
      // What the server itself refuses does not pass by waiting; a machine that is away comes back.
      if (String((error as { code?: string }).code).startsWith('ER_')) throw error;
      return [];
    }
  }

  async saveDivergence({ common, last }: Divergence): Promise<{ transactions: number; file: string } | undefined> {
    const { server, diverged } = this.#options.folders;
    await mkdir(diverged, { recursive: true });
    const file = join(diverged, `behind-${common || 'nothing'}-to-${last}.sql`);
    const logs = (await readdir(server)).filter((name) => /^bin\.\d+$/.test(name)).sort();
    const from = common === '' ? [] : [`--start-position=${common}`];
    const child = spawn('mariadb-binlog', ['-v', ...from, ...logs.map((name) => join(server, name))], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    try {
      await Promise.all([pipeline(child.stdout, createWriteStream(file)), ended(child, 'mariadb-binlog')]);
    } catch {
      // Logs are kept for a week: who was away for longer has purged the beginning.
      return undefined;
    }
    await using saved = await open(file);
    return { transactions: await clientTransactions(saved.readLines(), 'ha'), file };
  }

  async follow(): Promise<void> {
    const { peerAddress, replicationPassword } = this.#options;
    // `current_pos` counts what it wrote as a primary, too.
    const [own] = await this.#session.rows<{ last: string }>('SELECT @@gtid_current_pos AS last');
    await this.#session.run(`SET GLOBAL gtid_slave_pos = '${own!.last}'`);
    await this.#session.run(
      `CHANGE MASTER TO MASTER_HOST = '${peerAddress}', MASTER_USER = 'repl', MASTER_PASSWORD = '${replicationPassword}', ` +
        'MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 0.2',
    );
    await this.#session.run('START SLAVE');
  }

  stopReceiving(): Promise<void> {
    return this.#session.run('STOP SLAVE IO_THREAD');
  }

  receive(): Promise<void> {
    return this.#session.run('START SLAVE IO_THREAD');
  }

  async leaveReplication(): Promise<void> {
    await this.#session.run('STOP SLAVE');
    await this.#session.run('RESET SLAVE ALL');
  }

  /** Nothing of it goes into this server's own log. */
  async load(): Promise<void> {
    const { peerAddress, replicationPassword, databaseName, clock } = this.#options;
    const source = { host: peerAddress, user: 'repl', password: replicationPassword, databaseName, clock };
    const dump = dumpDatabase({ ...source, position: 'statement' });
    const fill = spawn('mariadb', [`--socket=${socketFile}`, '--init-command=SET sql_log_bin = 0'], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    await inTurn([ended(fill, 'mariadb'), dump.whole, pipeline(dump.output, fill.stdin)]);
    await this.keep();
  }

  keep(): Promise<void> {
    return rm(this.#options.folders.emptyFile, { force: true });
  }

  discard(): Promise<void> {
    return writeFile(this.#options.folders.discardFile, '');
  }

  async kill(): Promise<void> {
    await killServer(pidFile);
  }

  close(): void {
    this.#session.close();
    this.#marker.close();
  }
}

type Variables = Record<'bootId' | 'binlogPosition' | 'applied', string> & Record<'readOnly' | 'semiSync' | 'epoch', number>;

interface SlaveStatus {
  readonly Slave_IO_Running: string;
  readonly Slave_SQL_Running: string;
  readonly Last_IO_Errno: number;
  readonly Last_SQL_Errno: number;
  readonly Gtid_IO_Pos: string;
  readonly Master_Log_File: string;
  readonly Read_Master_Log_Pos: number | string;
}

/** "Got fatal error from master when reading data from binary log": the primary's history is another one, or has no such beginning. */
const fatalReadError = 1236;

function replicationOf(slave: SlaveStatus, applied: string, status: ReadonlyMap<string, string>): Replication {
  return {
    started: Number(status.get('COM_START_SLAVE')) > 0,
    receiving: slave.Slave_IO_Running !== 'No',
    applying: slave.Slave_SQL_Running === 'Yes',
    received: Math.max(sequenceOf(slave.Gtid_IO_Pos), sequenceOf(applied)),
    applied: sequenceOf(applied),
    sign: `${status.get('SLAVE_RECEIVED_HEARTBEATS')} ${slave.Master_Log_File} ${slave.Read_Master_Log_Pos}`,
    differs: Number(slave.Last_IO_Errno) === fatalReadError || Number(slave.Last_SQL_Errno) !== 0,
  };
}
