/** Backups of real databases: what is restored has the checksums that the primary had at that time. */
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

interface Restored {
  readonly last: number;
  readonly checksums: Readonly<Record<string, string>>;
}

async function restored(into: string, ...words: readonly string[]): Promise<Restored> {
  return JSON.parse(await program('backup', 'restore', '--into', into, ...words)) as Restored;
}

/** Of the orders, on the primary. */
async function checksum(): Promise<string> {
  const [, sum] = (await machines.sql(await machines.primary(), 'CHECKSUM TABLE marketplace.orders')).split('\t');
  return sum!;
}

/** The server's clock, to the second, as a restore takes it; and no transaction of the same second follows. */
async function secondOver(): Promise<string> {
  const now = async (): Promise<string> => machines.sql(await machines.primary(), 'SELECT UTC_TIMESTAMP()');
  const second = await now();
  await eventually(async () => (await now()) !== second, { intervalMs: 20 });
  return `${second.replace(' ', 'T')}Z`;
}

async function order(clients: number): Promise<void> {
  await using orders = await Orders.start(machines.address('floating'), clients);
  await eventually(() => orders.acknowledged.size > 50);
}

describe('the backup', () => {
  it('restores the dump and all changes since, to a time and to the last, across a change of the primary', async () => {
    await order(1);
    await program('backup', 'now');
    expect(await program('backup', 'list')).toContain('bytes  from');
    await order(2);
    const [atTime, then] = [await secondOver(), await checksum()];
    await order(3);
    const former = await machines.primary();
    await machines.databases[former].kill();
    await eventually(async () => (await machines.primary()) !== former, { timeoutMs: 30_000 });
    await order(4);
    const now = await checksum();
    await eventually(
      async () => {
        const folder = `/data/restored-${Math.round(performance.now())}`;
        expect((await restored(folder)).checksums['orders']).toBe(now);
        return true;
      },
      { timeoutMs: 60_000 },
    );
    expect((await restored('/data/restored-then', '--to-time', atTime)).checksums['orders']).toBe(then);
    await machines.databases[former].start();
  });

  it('refuses to restore over what is there, and from before the first dump', async () => {
    await expect(restored('/data/dumps')).rejects.toThrow('exists: a restore makes a new folder');
    await expect(restored('/data/early', '--to-time', '2020-01-01T00:00:00Z')).rejects.toThrow('no dump was made before');
  });
});
