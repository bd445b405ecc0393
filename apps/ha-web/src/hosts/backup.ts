/** Processes of the backup machine. */
import type { ChildProcess } from 'node:child_process';
import { exitCodes, makeLogger, runProcess, systemClock, type Logger } from '@lab/process';
import { Cron } from 'croner';
import { Archive } from '../backup/archive.ts';
import { restore } from '../backup/restore.ts';
import { dump, fetchChanges, lastIn, primaryOf } from '../backup/source.ts';
import type { BackupConfig, BackupListConfig, BackupNowConfig, RestoreConfig } from '../config.ts';
import { ended } from '../database/command.ts';
import { sequenceOf } from '../domain/database-history.ts';
import { DatabaseBackup } from '../roles/db-backup.ts';

export async function runBackup(settings: BackupConfig): Promise<number> {
  const log = makeLogger({ name: 'db-backup', level: settings.logLevel });
  const archive = new Archive(settings.dataFolder);
  const role = new DatabaseBackup({
    dump: () => makeDump(archive, settings, log),
    hasDump: async () => (await archive.list()).length > 0,
    follow: () => followChanges(archive, settings, log),
    daily: (run) => {
      const [hour, minute] = settings.backupTime.split(':');
      const job = new Cron(`${Number(minute)} ${Number(hour)} * * *`, { timezone: settings.backupTimeZone }, run);
      return () => job.stop();
    },
    clock: systemClock,
    log,
  });
  return runProcess([{ name: 'db-backup', role }], { log });
}

async function makeDump(archive: Archive, settings: BackupNowConfig, log: Logger): Promise<void> {
  const { name, source, position, bytes } = await dump(archive, { ...settings, clock: systemClock }, Date.now());
  log.info({ dump: name, source, position, bytes }, 'dumped');
  await archive.retain(settings.keep);
}

/** How old changes may be that are lost with a primary that was cut off, beside what it takes to promote another. */
const primaryMs = 5_000;

/** The changes of the present primary, from where the archive ends. */
function followChanges(archive: Archive, settings: BackupConfig, log: Logger): { ended: Promise<void>; stop: () => void } {
  let child: ChildProcess | undefined;
  let stopped = false;
  const follow = async (): Promise<void> => {
    const primary = await primaryOf(settings);
    if (primary === undefined) throw new Error('there is no primary');
    const newest = (await archive.changes()).flat().at(-1);
    const dumped = (await archive.list()).at(-1);
    const after = Math.max(
      newest === undefined ? 0 : await lastIn(newest),
      dumped === undefined ? 0 : sequenceOf(dumped.position),
    );
    const name = `${new Date().toISOString().replaceAll(':', '-')}-${primary}`;
    child = await fetchChanges(primary, after, () => archive.beginChanges(name), settings);
    if (stopped) child.kill();
    log.info({ primary, after }, 'receives changes');
    // From a machine that was cut off nothing comes, not even the end of the connection.
    const leave = async (): Promise<void> => {
      const present = await primaryOf(settings);
      if (present !== undefined && present !== primary) child?.kill();
    };
    const cancel = systemClock.every(primaryMs, () => void leave());
    await ended(child, 'mariadb-binlog').finally(cancel);
  };
  const stop = (): void => {
    stopped = true;
    child?.kill();
  };
  return { ended: follow(), stop };
}

export async function runBackupNow(settings: BackupNowConfig): Promise<number> {
  const log = makeLogger({ name: 'backup', level: settings.logLevel });
  await makeDump(new Archive(settings.dataFolder), settings, log);
  return exitCodes.ok;
}

export async function runBackupList({ dataFolder }: BackupListConfig): Promise<number> {
  const archive = new Archive(dataFolder);
  for (const { name, source, position, bytes } of await archive.list()) {
    process.stdout.write(`${name}  ${String(bytes).padStart(12)} bytes  from ${source} at ${position}\n`);
  }
  process.stdout.write(`${(await archive.changes()).flat().length} logs of changes\n`);
  return exitCodes.ok;
}

/** Prints, as JSON, what was restored: with the checksums of its tables. */
export async function runRestore({ dataFolder, databaseName, toTime, into }: RestoreConfig): Promise<number> {
  const toMs = toTime === undefined ? undefined : Date.parse(toTime);
  const restored = await restore(new Archive(dataFolder), { into, toMs, databaseName, clock: systemClock });
  process.stdout.write(`${JSON.stringify(restored)}\n`);
  return exitCodes.ok;
}
