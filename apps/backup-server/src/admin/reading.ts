/** Commands that read what is stored: the same with a server and without one. */
import { basename } from 'node:path';
import { ExitError, exitCodes, systemClock } from '@lab/process';
import { exitCodeOfSignal } from '@lab/process/exit-codes';
import { bytesText, startBar } from '@lab/process/terminal';
import { RefusedError, type Channel } from '../channel/channel.ts';
import type { ReadingConfigs } from '../config.ts';
import { printable } from '../domain/file-names.ts';
import { chunksIn, count, entriesMax, totalsOf, type Entry, type Totals } from '../domain/manifest.ts';
import { chosen, difference, selecting } from '../domain/selection.ts';
import { damagedText, namedMax } from '../roles/damage.ts';
import type { ListedVersion, VerifyResult } from '../roles/store-commands.ts';
import type { Version } from '../versions.ts';
import { ask, askVersion, type AskedVersion } from './ask.ts';
import { damageText, DamagedError, Download, goneText, reportDamage, sourceOf } from './download.ts';
import { checkFolder, type Restored } from './restore.ts';
import { restoreInThread, startThread } from './restoring.ts';
import { changesText, countText, filesListText, listText, unsoundText, unwrittenText, verifyText, versionText } from './texts.ts';
import { checkWritable, writeTgz, type Saving } from './tgz.ts';

export type Out = (text: string) => void;

/** Connects to whoever answers, works, and closes; what goes wrong becomes a sentence and an exit code. */
export type Reach = <T>(work: (channel: Channel) => Promise<T>) => Promise<T>;

/** The answer, for a program or for a person. */
export function tell<T>({ json }: { json: boolean }, out: Out, answer: T, text: (answer: T) => string): void {
  out(json ? `${JSON.stringify(answer)}\n` : `${text(answer)}\n`);
}

export const list = (config: ReadingConfigs['list'], reach: Reach, out: Out): Promise<void> =>
  reach(async (channel) => {
    const { node, path, last } = config;
    tell(config, out, await ask<ListedVersion[]>(channel, { kind: 'list', node, path, last }), listText);
  });

export const files = (config: ReadingConfigs['files'], reach: Reach, out: Out): Promise<void> =>
  reach(async (channel) => {
    const { entries, isDamaged } = await askVersion(channel, config);
    const answer = Array.from(entries, (entry, index) => ({ ...entry, damaged: isDamaged(index) }));
    tell(config, out, answer, filesListText);
  });

export const diff = (config: ReadingConfigs['diff'], reach: Reach, out: Out): Promise<void> =>
  reach(async (channel) => {
    const { node, path, versions } = config;
    const [before, after] = [versions[0]!, versions[1]!];
    const { entries } = await askVersion(channel, { node, path, version: before });
    const changes = difference(entries, (await askVersion(channel, { node, path, version: after })).entries);
    tell(config, out, changes, changesText);
  });

export const query = async (config: ReadingConfigs['query'], reach: Reach, out: Out): Promise<void> =>
  fetchVersion(config, reach, out, {
    done: 'saved',
    place: config.saveTo,
    afterwards: () => '',
    prepare: () => checkWritable(config.saveTo),
    async write(channel, { version, entries: all }, { isWanted, progress }) {
      const save = (isSaved: Wanted['isWanted'], how: Pick<Saving, 'progress' | 'partial'>): Promise<Restored> => {
        const content = new Download(sourceOf(channel), chunksIn(chosen(all, isSaved)));
        return writeTgz(config.saveTo, { path: version.path, entries: chosen(all, isSaved), content, ...how });
      };
      const restored = await save(isWanted, { progress, partial: config.partial });
      const missed = new Set(restored.unwritten.map(({ path }) => path));
      // Once more, without what came damaged.
      if (missed.size > 0)
        await save((entry, index) => isWanted(entry, index) && !missed.has(entry.path), {
          progress: () => progress(0),
          partial: false,
        });
      return restored;
    },
  });

export const restore = async (config: ReadingConfigs['restore'], reach: Reach, out: Out): Promise<void> => {
  // While it loads, the version is asked for.
  const thread = startThread();
  try {
    await fetchVersion(config, reach, out, {
      done: 'restored',
      place: config.to,
      afterwards: (version) => {
        const same = config.version === undefined ? `the same command with --version ${version}` : 'the same command';
        return ` What is restored stays in ${config.to}, and ${same} goes on from there`;
      },
      prepare: () => checkFolder(config.to),
      write: (channel, { version, packed }, { wanted, begun, progress }) => {
        const { to: folder, partial } = config;
        const work = { folder, name: basename(version.path), partial, packed, wanted };
        return restoreInThread(thread, channel, work, { begun, progress });
      },
    });
  } finally {
    await thread.terminate();
  }
};

interface Wanted {
  isWanted: (entry: Entry, index: number) => boolean;
  /** The same as bytes, in memory that threads share: 1; and 2 for what is left out, for it is damaged. */
  wanted: Uint8Array;
}

interface Writing {
  /** What has been done then, and where. */
  done: string;
  place: string;
  /** What is said beside why it was broken off. */
  afterwards: (version: number) => string;
  /** Before anything is asked of the server. */
  prepare: () => Promise<void>;
  write: (
    channel: Channel,
    asked: AskedVersion,
    how: Wanted & { begun: () => void; progress: (bytes: number) => void },
  ) => Promise<Restored>;
}

type WantedConfig = Pick<ReadingConfigs['restore'], 'node' | 'path' | 'version' | 'only' | 'partial' | 'json'>;

/** Says that it is there, to a server that would take it for one who hangs. */
const keepAliveMs = 5_000;

/** Of damage that came to light; the server looks through all that is near each. */
const reportsMax = 100;

async function fetchVersion(config: WantedConfig, reach: Reach, out: Out, writing: Writing): Promise<void> {
  const { place } = writing;
  /** Of which something may be written, and not all. */
  let begun: number | undefined;
  try {
    await reach(async (channel) => {
      await writing.prepare();
      const asked = await askVersion(channel, config);
      const { isWanted, wanted, leftOut, totals } = wantedOf(asked, config);
      const { unwritten, damage } = await underWay(channel, asked.version, totals.bytes, (progress) =>
        writing.write(channel, asked, { isWanted, wanted, progress, begun: () => (begun = asked.version.version) }),
      );
      for (const each of damage.slice(0, reportsMax)) if (!(await reportDamage(channel, each))) throw new RefusedError(goneText);
      const { version, notes, path } = asked.version;
      const missed = new Set(unwritten.map((each) => each.path));
      const written = (entry: Entry, index: number): boolean => isWanted(entry, index) && !missed.has(entry.path);
      const done = missed.size === 0 ? totals : totalsOf(chosen(asked.entries, written));
      const answer = { node: config.node, path, version, ...done, leftOut, notes, unwritten };
      const damaged = leftOut === 0 ? '' : `, without ${countText(leftOut, 'damaged file')}`;
      tell(
        config,
        out,
        answer,
        () =>
          `${versionText(asked.version)} is ${writing.done} to ${place}: ${countText(done.files, 'file')}, ${bytesText(done.bytes)}${damaged}`,
      );
      begun = undefined;
      const missing = [
        ...(leftOut === 0 ? [] : [`${countText(leftOut, 'damaged file')} left out, which "files" shows`]),
        ...(unwritten.length === 0 ? [] : [unwrittenText(unwritten)]),
      ];
      if (missing.length > 0) throw new ExitError(missing.join('\n'));
    });
  } catch (error) {
    if (begun === undefined || !(error instanceof ExitError) || error.exitCode === exitCodes.usage) throw error;
    const more = writing.afterwards(begun);
    const stop = more === '' || /[.?]$/.test(error.message) ? '' : '.';
    throw new ExitError(`${error.message}${stop}${more}`, error.exitCode, { cause: error });
  }
}

/** With a bar; a signal breaks it off, and damage is told to the server. */
async function underWay<T>(
  channel: Channel,
  version: Version,
  totalBytes: number,
  write: (progress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  const bar = startBar(`version ${version.version}`, totalBytes);
  let bytes = 0;
  let interrupted: ExitError | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    interrupted = new ExitError('interrupted', exitCodeOfSignal(signal));
    channel.destroy(interrupted);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, interrupt);
  const stopKeepAlive = systemClock.every(
    keepAliveMs,
    () => void channel.send({ kind: 'working', files: 0, bytes, sentBytes: 0 }).catch(() => undefined),
  );
  try {
    return await write((more) => {
      if (interrupted !== undefined) throw interrupted;
      bar.to((bytes += more));
    });
  } catch (error) {
    if (interrupted !== undefined) throw interrupted;
    if (!(error instanceof DamagedError)) throw error;
    throw new RefusedError((await reportDamage(channel, error)) ? damageText : goneText);
  } finally {
    stopKeepAlive();
    for (const signal of signals) process.off(signal, interrupt);
    bar.stop();
  }
}

/** What is asked for of a version, without what is damaged where that may be left out. */
function wantedOf(
  { version, entries, isDamaged }: AskedVersion,
  { only, partial }: WantedConfig,
): Wanted & { leftOut: number; totals: Totals } {
  const { isSelected, unknown } = selecting(entries, only);
  if (unknown.length > 0)
    throw new ExitError(
      `there is no "${unknown.map(printable).join('", "')}" in ${versionText(version)}: "files" shows what there is`,
      exitCodes.usage,
    );
  const wanted = new Uint8Array(new SharedArrayBuffer(entriesMax));
  const totals = { files: 0, bytes: 0 };
  const lost: Entry[] = [];
  let [index, leftOut] = [0, 0];
  for (const entry of entries) {
    if (!isSelected(entry)) index++;
    else if (isDamaged(index++)) {
      wanted[index - 1] = 2;
      if (++leftOut <= namedMax) lost.push(entry);
    } else {
      wanted[index - 1] = 1;
      count(totals, entry);
    }
  }
  if (leftOut > 0 && !partial) throw new RefusedError(damagedText(version, leftOut, lost));
  return { isWanted: (_, index) => wanted[index] === 1, wanted, leftOut, totals };
}

export async function verify(config: ReadingConfigs['verify'], reach: Reach, out: Out): Promise<void> {
  await reach(async (channel) => {
    const bar = startBar('verifying', 0);
    let result: VerifyResult;
    try {
      result = await ask<VerifyResult>(channel, { kind: 'verify' }, ({ bytes, total = 0 }) => bar.to(bytes, total));
    } finally {
      bar.stop();
    }
    tell(config, out, result, verifyText);
    const unsound = unsoundText(result);
    if (unsound !== undefined) throw new ExitError(unsound);
  });
}
