/** A monitor and two servers of PostgreSQL, of which each is killed while it is made, at moments that a seed chooses. `SEED=7` repeats them. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { eventually, seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { run } from './engine.ts';
import { serviceImage } from './images.ts';

const docker = async (...args: readonly string[]): Promise<string> => (await run('docker', args)).trim();
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000);
const states = 'SELECT reportedstate FROM pgautofailover.node WHERE reportedstate = goalstate ORDER BY 1';

it(`a primary and its standby come of it, whenever they are killed (seed ${seed})`, { timeout: 300_000 }, async () => {
  const random = seededRandom(seed);
  const image = await serviceImage('postgres');
  const own = `lab-postgres-${randomUUID().slice(0, 8)}`;
  const folder = await mkdtemp(join(tmpdir(), 'lab-postgres-'));
  // What a password may be.
  await writeFile(join(folder, 'password'), `p:a\\s's"$\n`);
  const name = (part: string): string => `${own}-${part}`;
  const start = async (part: string, ...command: readonly string[]): Promise<void> => {
    const secret = ['--volume', `${folder}:/run/secrets:ro`, '--env', 'POSTGRES_PASSWORD_FILE=/run/secrets/password'];
    const kept = ['--detach', '--restart', 'always', '--network', own, '--name', name(part)];
    await docker('run', ...kept, ...secret, image, ...command);
    // That which is made takes two seconds.
    await wait(random.integer(100, 2_000));
    await docker('kill', name(part));
    await docker('start', name(part));
  };
  const healthy = (part: string): Promise<boolean> =>
    eventually(async () => (await docker('inspect', '--format', '{{.State.Health.Status}}', name(part))) === 'healthy', {
      timeoutMs: 60_000,
    });
  await run('chmod', ['-R', 'a+rX', folder]);
  await docker('network', 'create', own);
  try {
    await start('monitor', 'monitor', name('monitor'));
    await healthy('monitor');
    for (const part of ['a', 'b']) await start(part, 'server', name(part), name('monitor'));
    const asked = ['exec', name('monitor'), 'psql', '-Atc', states, 'pg_auto_failover'];
    await eventually(async () => (await docker(...asked)) === 'primary\nsecondary', { timeoutMs: 90_000, intervalMs: 500 });
    const count = ['psql', '-U', 'lab', '-d', 'lab', '-h', name('a'), '-Atc', 'SELECT 1'];
    expect(await docker('exec', name('b'), ...count), 'with the password').toBe('1');
  } finally {
    for (const part of ['monitor', 'a', 'b']) await docker('rm', '--force', '--volumes', name(part)).catch(() => undefined);
    await docker('network', 'rm', own).catch(() => undefined);
    await rm(folder, { recursive: true });
  }
});
