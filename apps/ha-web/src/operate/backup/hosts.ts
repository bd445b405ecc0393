/** Processes of the backup machine. */
import { exitCodes, makeLogger, runProcess, systemClock, type Logger } from '@lab/process';
import { Archive } from './archive.ts';
import { daily } from './daily.ts';
import { Follower } from './follower.ts';
import { restore } from './restore.ts';
import { dump } from './source.ts';
import type { BackupConfig, BackupListConfig, BackupNowConfig, RestoreConfig } from '../../config.ts';
import { DatabaseBackup } from '../roles/db-backup.ts';

export async function runBackup(settings: BackupConfig): Promise<number> {
  const log = makeLogger({ name: 'db-backup', level: settings.logLevel });
  const archive = new Archive(settings.dataFolder, log);
  await archive.clean();
  const role = new DatabaseBackup({
    dump: () => makeDump(archive, settings, log),
    hasDump: async () => (await archive.list()).length > 0,
    follow: (missed) => {
      const follower = new Follower({ archive, source: settings, clock: systemClock, nowMs: Date.now, log, missed });
      return { ended: follower.run(), stop: () => follower.stop() };
    },
    daily: (run) => {
      const job = daily({ time: settings.backupTime, timeZone: settings.backupTimeZone }).schedule(run);
      return () => job.stop();
    },
    clock: systemClock,
    log,
  });
  return runProcess([{ name: 'db-backup', role }], { log });
}

async function makeDump(archive: Archive, settings: BackupNowConfig, log: Logger): Promise<void> {
  const clocks = { clock: systemClock, nowMs: Date.now };
  const { name, source, position, bytes } = await dump(archive, { ...settings, ...clocks });
  log.info({ dump: name, source, position, bytes }, 'dumped');
  await archive.retain(settings.keep);
}

export async function runBackupNow(settings: BackupNowConfig): Promise<number> {
  const log = makeLogger({ name: 'backup', level: settings.logLevel });
  await makeDump(new Archive(settings.dataFolder, log), settings, log);
  return exitCodes.ok;
}

export async function runBackupList({ dataFolder }: BackupListConfig): Promise<number> {
  const archive = new Archive(dataFolder, makeLogger({ name: 'backup' }));
  for (const { name, source, position, bytes } of await archive.list()) {
    process.stdout.write(`${name}  ${String(bytes).padStart(12)} bytes  from ${source} at ${position}\n`);
  }
  process.stdout.write(`${(await archive.changes()).flat().length} logs of changes\n`);
  return exitCodes.ok;
}

/** Prints, as JSON, what was restored: with the checksums of its tables. */
export async function runRestore({ dataFolder, databaseName, toTime, into }: RestoreConfig): Promise<number> {
  const toMs = toTime === undefined ? undefined : Date.parse(toTime);
  const restored = await restore(new Archive(dataFolder, makeLogger({ name: 'backup' })), {
    into,
    toMs,
    databaseName,
    clock: systemClock,
  });
  process.stdout.write(`${JSON.stringify(restored)}\n`);
  return exitCodes.ok;
}
