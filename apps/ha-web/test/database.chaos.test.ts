/**
 * Databases are killed, paused and cut off under a steady load of orders. At the end every acknowledged order is there, once, on both. `SEED=17` runs one seed,
 * `SEEDS=10` so many; the faults of one seed follow each other on the same machines.
 */
import { eventually, seededRandom, type Random } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseNames, DatabaseMachines, Orders, storedOrders, type DatabaseName } from './database-machines.ts';

const clients = 4;
let machines: DatabaseMachines;

beforeAll(async () => {
  machines = await DatabaseMachines.start({ name: 'lab-ha-web-database-chaos', prefix: '10.92.1' });
});
afterAll(async () => machines?.[Symbol.asyncDispose]());

interface Fault {
  readonly name: string;
  /** Most that clients may wait; generous, for what is measured is printed. */
  readonly outageMsMax: number;
  /** What happens, and its repair. */
  strike(primary: DatabaseName, replica: DatabaseName): Promise<() => Promise<void>>;
}

const container = (name: DatabaseName) => machines.databases[name];
const repaired = async (): Promise<void> => undefined;

const faults: readonly Fault[] = [
  {
    name: 'primary killed',
    outageMsMax: 10_000,
    strike: async (primary) => {
      await container(primary).kill();
      return () => container(primary).start();
    },
  },
  {
    name: 'primary paused',
    outageMsMax: 15_000,
    strike: async (primary) => {
      await container(primary).pause();
      return () => container(primary).unpause();
    },
  },
  {
    name: 'primary cut off',
    outageMsMax: 15_000,
    strike: async (primary) => {
      await container(primary).partition();
      return () => container(primary).heal();
    },
  },
  {
    name: 'primary stopped in good order',
    outageMsMax: 10_000,
    strike: async (primary) => {
      await container(primary).stop();
      return () => container(primary).start();
    },
  },
  {
    name: "primary's mariadbd killed",
    outageMsMax: 10_000,
    strike: async (primary) => {
      await machines.killProgram(primary, '^mariadbd');
      return repaired;
    },
  },
  {
    name: "primary's db-agent killed",
    outageMsMax: 10_000,
    strike: async (primary) => {
      await machines.killProgram(primary, 'main.ts db-agent');
      return repaired;
    },
  },
  {
    name: "primary's db-agent hangs",
    outageMsMax: 15_000,
    strike: async (primary) => {
      const held = container(primary).id;
      await machines.exec(held, 'pkill', '-STOP', '-f', 'main.ts db-agent');
      // Longer than a lease: another process notices, fences and starts a new agent.
      await eventually(async () => (await machines.status(primary)).role !== 'primary', { timeoutMs: 20_000 });
      return repaired;
    },
  },
  {
    name: "primary's keepalived killed",
    outageMsMax: 10_000,
    strike: async (primary) => {
      await machines.killProgram(primary, '^keepalived');
      return repaired;
    },
  },
  {
    name: 'replica killed',
    outageMsMax: 8_000,
    strike: async (_, replica) => {
      await container(replica).kill();
      return () => container(replica).start();
    },
  },
  {
    name: 'replica paused',
    outageMsMax: 8_000,
    strike: async (_, replica) => {
      await container(replica).pause();
      return () => container(replica).unpause();
    },
  },
  {
    name: 'replica cut off',
    outageMsMax: 8_000,
    strike: async (_, replica) => {
      await container(replica).partition();
      return () => container(replica).heal();
    },
  },
];

/** Strikes under load, waits until clients are served again, repairs, and waits until both are whole; the longest time without an order in all of it. */
async function suffer(fault: Fault, orders: Orders): Promise<number> {
  const primary = await machines.primary();
  const before = orders.acknowledged.size;
  await eventually(() => orders.acknowledged.size > before + clients);
  const struckMs = performance.now();
  const repair = await fault.strike(primary, primary === 'db-1' ? 'db-2' : 'db-1');
  await orders.served();
  await repair();
  await machines.whole();
  await orders.served();
  return orders.outageMs(struckMs);
}

async function checkHistory(orders: Orders): Promise<void> {
  await orders.stop();
  await machines.whole();
  const primary = await machines.primary();
  const stored = await storedOrders(machines, primary);
  expect([...orders.acknowledged.keys()].filter((key) => stored.get(key) !== 1)).toEqual([]);
  await eventually(async () => {
    const [one, two] = await Promise.all(databaseNames.map((name) => machines.sql(name, 'CHECKSUM TABLE marketplace.orders')));
    expect(one).toBe(two);
    return true;
  });
  await machines.sql(primary, 'DROP TABLE marketplace.orders');
}

const print = (fault: string, outageMs: number): void =>
  console.log(`${fault.padEnd(44)} ${String(outageMs).padStart(6)} ms without an order`);

describe('the databases', () => {
  it.each(faults)('lose no acknowledged order and serve again when this happens: $name', async (fault) => {
    await using orders = await Orders.start(machines.address('floating'), clients);
    const outageMs = await suffer(fault, orders);
    await checkHistory(orders);
    print(fault.name, outageMs);
    expect(outageMs).toBeLessThan(fault.outageMsMax);
  });

  it('save and name what only a cut-off primary had, and fill it anew', async () => {
    await using before = await Orders.start(machines.address('floating'), clients);
    await before.served();
    // A third group of commits would not even be logged while two wait for the replica.
    await before.stop();
    const primary = await machines.primary();
    await container(primary).partition();
    const insert = "INSERT INTO marketplace.orders (name) VALUES ('on its own')";
    await expect(machines.exec(container(primary).id, 'mariadb', '-e', insert)).rejects.toThrow('Lost connection');
    await using orders = await Orders.start(machines.address('floating'), clients);
    await orders.served();
    await container(primary).heal();
    await machines.whole();
    const saved = await machines.exec(container(primary).id, 'sh', '-c', 'cat /data/diverged/*.sql');
    expect(saved).toContain('on its own');
    const names = await machines.sql(primary, "SELECT COUNT(*) FROM marketplace.orders WHERE name = 'on its own'");
    expect(names).toBe('0');
    const log = await machines.log(primary);
    expect(log).toMatch(/behind \S+ only this database had \d+ client transactions: saved in/);
    await checkHistory(orders);
  });

  it('serve on while the majority of ZooKeeper is away, and change again when it is back', async () => {
    await using orders = await Orders.start(machines.address('floating'), clients);
    const [first, second] = [machines.zookeepers[0]!, machines.zookeepers[1]!];
    const before = performance.now();
    await first.kill();
    await second.kill();
    const epoch = (await machines.status(await machines.primary())).epoch;
    // Longer than a session and a lease: whoever depends on ZooKeeper has noticed.
    await eventually(() => performance.now() - before > 12_000, { timeoutMs: 20_000 });
    await Promise.all([first.start(), second.start()]);
    await machines.whole();
    const outageMs = orders.outageMs(before);
    print('majority of ZooKeeper lost', outageMs);
    expect((await machines.status(await machines.primary())).epoch).toBe(epoch);
    await checkHistory(orders);
    expect(outageMs).toBeLessThan(1_000);
  });

  it('wait while the replica and the majority of ZooKeeper are away, and lose nothing', async () => {
    await using orders = await Orders.start(machines.address('floating'), clients);
    const primary = await machines.primary();
    const replica = container(primary === 'db-1' ? 'db-2' : 'db-1');
    await Promise.all([machines.zookeepers[0]!.kill(), machines.zookeepers[1]!.kill()]);
    await eventually(async () => (await machines.status(primary)).replicaInSync);
    await replica.kill();
    const before = orders.acknowledged.size;
    const killedMs = performance.now();
    await eventually(() => performance.now() - killedMs > 4_000);
    expect(orders.acknowledged.size).toBeLessThanOrEqual(before + clients);
    await Promise.all([machines.zookeepers[0]!.start(), machines.zookeepers[1]!.start()]);
    await orders.served();
    print('replica lost while ZooKeeper is away', orders.outageMs(killedMs));
    await replica.start();
    await machines.whole();
    await checkHistory(orders);
  });

  it('come back by themselves when everything was powered off', async () => {
    await using orders = await Orders.start(machines.address('floating'), clients);
    const all = [...databaseNames.map(container), ...machines.zookeepers];
    const offMs = performance.now();
    await Promise.all(all.map((each) => each.kill()));
    await Promise.all(all.map((each) => each.start()));
    await orders.served();
    print('everything off and on', orders.outageMs(offMs));
    await machines.whole();
    await checkHistory(orders);
  });

  const first = Number(process.env['SEED'] ?? 1);
  const count = process.env['SEED'] === undefined ? Number(process.env['SEEDS'] ?? 1) : 1;
  const seeds = Array.from({ length: count }, (_, index) => first + index);
  it.each(seeds)('lose no acknowledged order over many faults in turn, seed %i', { timeout: 400_000 }, async (seed) => {
    const random: Random = seededRandom(seed);
    await using orders = await Orders.start(machines.address('floating'), clients);
    for (let turn = 0; turn < 5; turn++) {
      const fault = random.pick(faults);
      print(`seed ${seed}: ${fault.name}`, await suffer(fault, orders));
    }
    await checkHistory(orders);
  });
});
