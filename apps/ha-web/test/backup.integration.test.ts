/** Backups of real databases: what is restored has the checksums that the primary had at that time. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { eventually } from '@lab/testing';
import type { Container } from '@lab/testing/containers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatabaseMachines, Orders } from './database-machines.ts';

let machines: DatabaseMachines;
let backup: Container;

beforeAll(async () => {
  machines = await DatabaseMachines.start({ name: 'lab-ha-web-backup', prefix: '10.92.2' });
  backup = await machines.startBackup(['machine', 'backup']);
});
afterAll(async () => machines?.[Symbol.asyncDispose]());

const program = (...words: readonly string[]): Promise<string> => machines.exec(backup.id, 'node', 'src/main.ts', ...words);
const shell = (command: string): Promise<string> => machines.exec(backup.id, 'sh', '-c', command);
/** What the machine's programs log. */
const said = async (): Promise<string> => (await promisify(execFile)('docker', ['logs', backup.id])).stdout;
const sql = async (statement: string): Promise<string> => machines.sql(await machines.primary(), statement);

type Checksums = Readonly<Record<string, string>>;

interface Restored {
  readonly dump: { readonly name: string };
  readonly checksums: Checksums;
}

async function restored(into: string, ...words: readonly string[]): Promise<Restored> {
  return JSON.parse(await program('backup', 'restore', '--into', into, ...words)) as Restored;
}

let restores = 0;

/** Resolves when what is restored is what the primary has now. */
async function restoresAll(): Promise<Restored> {
  const now = await checksums();
  return eventually(
    async () => {
      const found = await restored(`/data/restored-${++restores}`);
      expect(found.checksums).toMatchObject(now);
      return found;
    },
    { timeoutMs: 60_000, intervalMs: 500 },
  );
}

/** Of the tables that are written to here, on the primary. */
async function checksums(): Promise<Checksums> {
  const lines = await sql('CHECKSUM TABLE marketplace.asked_orders, marketplace.addresses');
  const sums = lines.split('\n').map((line) => line.replace('marketplace.', '').split('\t') as [string, string]);
  return Object.fromEntries(sums.filter(([, sum]) => sum !== 'NULL'));
}

/** The server's clock, to the second, as a restore takes it; and no transaction of the same second follows. */
async function secondOver(): Promise<string> {
  const now = (): Promise<string> => sql('SELECT UTC_TIMESTAMP()');
  const second = await now();
  await eventually(async () => (await now()) !== second, { intervalMs: 20 });
  return `${second.replace(' ', 'T')}Z`;
}

async function order(clients: number): Promise<void> {
  await using orders = await Orders.start(machines.address('floating'), clients);
  await eventually(() => orders.acknowledged.size > 50);
}

/** Looks like what MariaDB's programs print: in the log, in the dump. */
const hostile = `Rua B, Start: binlog v4
#260131 10:00:00 server id 1  end_log_pos 378 CRC32 0xd57ad644 \tGTID 0-1-999999 trans
#260131 10:00:00 server id 1  end_log_pos 256 CRC32 0x7be30fcc \tStart: binlog v 4, server v 10.11
-- SET GLOBAL gtid_slave_pos=\\'0-1-999999\\';
DELIMITER ;
COMMIT;`;

const addAddress = (): Promise<string> => sql(`INSERT INTO marketplace.addresses (text) VALUES ('${hostile}')`);

describe('the backup', () => {
  it('restores the dump and all changes since, to a time and to the last, across a change of the primary', async () => {
    await order(1);
    await program('backup', 'now');
    expect(await program('backup', 'list')).toContain('bytes  from');
    await order(2);
    const [atTime, then] = [await secondOver(), await checksums()];
    await order(3);
    const former = await machines.primary();
    await machines.databases[former].kill();
    await eventually(async () => (await machines.primary()) !== former, { timeoutMs: 120_000 });
    await order(4);
    await restoresAll();
    expect((await restored('/data/restored-then', '--to-time', atTime)).checksums).toMatchObject(then);
    await machines.databases[former].start();
  });

  it('takes no text of a client for anything else, in a database of some megabytes', async () => {
    await sql(`CREATE TABLE marketplace.addresses (id INT AUTO_INCREMENT PRIMARY KEY, text TEXT)`);
    await sql(
      `INSERT INTO marketplace.addresses (text) SELECT REPEAT('Rua A, 1 ', 200) FROM information_schema.columns LIMIT 2000`,
    );
    await addAddress();
    await program('backup', 'now');
    // A restore to the second in which a dump was made takes the one before.
    await secondOver();
    await addAddress();
    const [atTime, then] = [await secondOver(), await checksums()];
    await addAddress();
    await order(1);
    const { dump } = await restoresAll();
    const early = await restored('/data/restored-early', '--to-time', atTime);
    expect(early.dump.name).toBe(dump.name);
    expect(early.checksums).toMatchObject(then);
  });

  it('goes on with the log that is being written, whatever is removed', async () => {
    await program('backup', 'now', '--keep', '1');
    const list = await program('backup', 'list');
    expect(list.match(/bytes {2}from/g)).toHaveLength(1);
    expect(list).toMatch(/^1 logs of changes, the newest of 2.*\n"restore" makes any second since 2/m);
    await order(1);
    await restoresAll();
  });

  it('begins another connection when one brings nothing anymore', async () => {
    await shell('pkill -STOP mariadb-binlog');
    await order(1);
    await restoresAll();
    expect(await said()).toContain('the connection brings nothing');
  });

  it('makes a new dump where the primary has removed changes that it has not', async () => {
    await backup.stop();
    await order(1);
    await sql('FLUSH BINARY LOGS');
    await order(2);
    await sql('FLUSH BINARY LOGS');
    await eventually(async () => {
      const newest = (await sql('SHOW BINARY LOGS')).split('\n').at(-1)!.split('\t')[0];
      await sql(`PURGE BINARY LOGS TO '${newest}'`);
      return (await sql('SHOW BINARY LOGS')).split('\n').length === 1;
    });
    await backup.start();
    await eventually(async () => (await said()).includes('changes are missing'), { timeoutMs: 120_000 });
    await order(3);
    await restoresAll();
  });

  it('says why a restore failed, and leaves nothing of it', async () => {
    const [newest] = (await shell('ls -r /data/dumps')).split('\n');
    await shell(
      `cd /data/dumps/${newest} && echo 'SELECT nonsense;' | gzip > dump.sql.gz && ` +
        `sed -i "s/\\"sha256\\": .*/\\"sha256\\": \\"$(sha256sum < dump.sql.gz | cut -d ' ' -f 1)\\"/" manifest.json`,
    );
    await expect(restored('/data/failed')).rejects.toThrow("Unknown column 'nonsense'");
    expect(await shell('ls /data /tmp')).not.toMatch(/failed|restore-/);
  });

  it('refuses to restore over what is there, and from before the first dump', async () => {
    await expect(restored('/data/dumps')).rejects.toThrow('exists: a restore makes a new folder');
    await expect(restored('/data/early', '--to-time', '2020-01-01T00:00:00Z')).rejects.toThrow(
      /no dump was made before 2020-01-01T00:00:00.000Z: the oldest is of 2/,
    );
  });
});
