/** Processes of the backup machine. */
import { makeLogger, runRole, systemClock, type Logger } from '@lab/process';
import type { z } from 'zod';
import type * as config from '../../config.ts';
import { DatabaseBackup } from '../roles/db-backup.ts';
import { Archive } from './archive.ts';
import { daily } from './daily.ts';
import { Follower } from './follower.ts';
import { newestChangeMs, restore } from './restore.ts';
import { dump } from './source.ts';

export const hosts = {
  'db-backup': (settings: z.infer<typeof config.backup>) =>
    runRole({ name: 'db-backup', logLevel: settings.logLevel }, async ({ clock, log }) => {
      const archive = new Archive(settings.dataFolder, log);
      await archive.clean();
      return new DatabaseBackup({
        dump: () => makeDump(archive, settings, log),
        hasDump: async () => (await archive.list()).length > 0,
        follow: (missed) => {
          const follower = new Follower({ archive, source: { ...settings, clock }, clock, nowMs: Date.now, log, missed });
          return { ended: follower.run(), stop: () => follower.stop() };
        },
        daily: (run) => {
          const job = daily({ time: settings.backupTime, timeZone: settings.backupTimeZone }).schedule(run);
          return () => job.stop();
        },
        clock,
        log,
      });
    }),

  now(settings: z.infer<typeof config.backupNow>): Promise<void> {
    const log = makeLogger({ name: 'backup', level: settings.logLevel });
    return makeDump(new Archive(settings.dataFolder, log), settings, log);
  },

  async list({ dataFolder }: z.infer<typeof config.backupList>): Promise<void> {
    const archive = await Archive.existing(dataFolder, makeLogger({ name: 'backup' }));
    const dumps = await archive.list();
    for (const { name, source, position, bytes } of dumps) {
      process.stdout.write(`${name}  ${String(bytes).padStart(12)} bytes  from ${source} at ${position}\n`);
    }
    const newestMs = await newestChangeMs(await archive.history());
    const newest = newestMs === undefined ? '' : `, the newest of ${new Date(newestMs).toISOString()}`;
    process.stdout.write(`${(await archive.changes()).flat().length} logs of changes${newest}\n`);
    if (dumps[0] !== undefined) process.stdout.write(`"restore" makes any second since ${dumps[0].takenAt}\n`);
  },

  /** Prints, as JSON, what was restored: with the checksums of its tables. */
  async restore({ dataFolder, toTime, ...settings }: z.infer<typeof config.restore>): Promise<void> {
    const toMs = toTime === undefined ? undefined : Date.parse(toTime);
    const archive = await Archive.existing(dataFolder, makeLogger({ name: 'backup' }));
    process.stdout.write(`${JSON.stringify(await restore(archive, { ...settings, toMs, clock: systemClock }))}\n`);
  },
};

async function makeDump(archive: Archive, settings: z.infer<typeof config.backupNow>, log: Logger): Promise<void> {
  const clocks = { clock: systemClock, nowMs: Date.now };
  const { name, source, position, bytes } = await dump(archive, { ...settings, ...clocks });
  log.info({ dump: name, source, position, bytes }, 'dumped');
  await archive.retain(settings.keep);
}
