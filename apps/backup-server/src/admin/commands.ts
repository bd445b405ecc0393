/** The admin: each command is one connection to the server, and an answer. */
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { command, commandGroup, ExitError, exitCodes, pathError, splitAddress, type Command } from '@lab/process';
import { bytesText, startBar, tableText } from '@lab/process/terminal';
import { FramingError, HandshakeError } from '@lab/protocol';
import { connectChannel, RefusedError, type Channel } from '../channel/channel.ts';
import { adminConfigs, type AdminConfig } from '../config.ts';
import { printable } from '../domain/file-names.ts';
import { totalsOf, type Entry } from '../domain/manifest.ts';
import type { Task } from '../domain/registry.ts';
import { ask, askVersion } from './ask.ts';
import { DamagedError, Download, reportDamage } from './download.ts';
import { keyFor, readKey } from '../channel/keys.ts';
import { checkEmpty, restoreTo } from './restore.ts';
import type { ListedVersion, StatusResult, VerifyResult } from '../roles/server.ts';
import type { Version } from '../versions.ts';
import { checkWritable, writeTgz } from './tgz.ts';

type Out = (text: string) => void;

/** Connects, works, closes; what goes wrong on the way becomes a sentence and an exit code. */
async function withServer<T>(config: AdminConfig, work: (channel: Channel) => Promise<T>): Promise<T> {
  let channel: Channel | undefined;
  try {
    const key = readKey(config.keyFile);
    const identity = key.identity === 'master' ? 'admin' : key.identity;
    channel = await connectChannel({ ...splitAddress(config.server), identity, key: keyFor(key, identity) });
    const result = await work(channel);
    await channel.close().catch(() => undefined);
    return result;
  } catch (error) {
    throw explained(error, config);
  } finally {
    channel?.destroy();
  }
}

function explained(error: unknown, { server, keyFile }: AdminConfig): unknown {
  if (error instanceof RefusedError) return new ExitError(error.message, error.code ?? exitCodes.failed, { cause: error });
  if (error instanceof HandshakeError)
    return new ExitError(`${error.message}. Shown was the key in ${keyFile}`, exitCodes.failed, { cause: error });
  if (error instanceof DamagedError) return new ExitError(error.message, exitCodes.failed, { cause: error });
  // A file or folder here, not there.
  if (error instanceof Error && 'syscall' in error && !(error instanceof FramingError)) return pathError(error);
  if (error instanceof FramingError)
    return new ExitError(`${error.message}. Is the server at ${server} running?`, exitCodes.unavailable, { cause: error });
  return error;
}

const named = ({ node, path }: { node: string; path: string }): string => `"${printable(path)}" of node ${node}`;

/** The answer, for a program or for a person. */
function tell<T>(config: AdminConfig, out: Out, answer: T, text: (answer: T) => string): void {
  out(config.json ? `${JSON.stringify(answer)}\n` : `${text(answer)}\n`);
}

export function adminCommands(out: Out): Command {
  return commandGroup({
    summary: 'asks a server: register, unregister, backup, query, restore, list, verify, status, shutdown',
    commands: {
      register: command({
        summary: 'has a path of a node backed up from now on; once more, it replaces address, interval and --keep',
        settings: adminConfigs.register,
        run: (config) =>
          withServer(config, async (channel) => {
            const { node, address, path, every, keep } = config;
            const answer = await ask<{ node: string; path: string; changed: boolean }>(channel, {
              kind: 'register',
              node,
              address,
              path,
              every,
              keep,
            });
            tell(
              config,
              out,
              answer,
              (done) =>
                `${named(done)} is ${done.changed ? 'registered anew' : 'registered'}: every ${every}, the first time now`,
            );
          }),
      }),
      unregister: command({
        summary: 'ends the backups of a path; its versions stay, unless --forget',
        settings: adminConfigs.unregister,
        run: (config) =>
          withServer(config, async (channel) => {
            const { node, path, forget } = config;
            const answer = await ask<{ node: string; path: string; forgotten: number }>(channel, {
              kind: 'unregister',
              node,
              path,
              forget,
            });
            const versions = forget ? `${answer.forgotten} versions were removed` : 'its versions stay';
            tell(config, out, answer, (done) => `${named(done)} is not backed up any more; ${versions}`);
          }),
      }),
      backup: command({
        summary: 'makes a backup now, and waits for its end',
        settings: adminConfigs.backup,
        run: (config) => backUp(config, out),
      }),
      query: command({
        summary: 'saves a version as FILE.tgz',
        settings: adminConfigs.query,
        run: (config) =>
          fetchVersion(config, out, 'saved', config.saveTo, {
            check: checkWritable,
            write: (fetched) => writeTgz(config.saveTo, { ...fetched, path: fetched.version.path }),
          }),
      }),
      restore: command({
        summary: 'writes a version into a folder',
        settings: adminConfigs.restore,
        run: (config) =>
          fetchVersion(config, out, 'restored', config.to, {
            check: checkEmpty,
            write: (fetched) => restoreTo(config.to, { ...fetched, name: basename(fetched.version.path) }),
          }),
      }),
      list: command({
        summary: 'shows all versions',
        settings: adminConfigs.plain,
        run: (config) =>
          withServer(config, async (channel) =>
            tell(config, out, await ask<ListedVersion[]>(channel, { kind: 'list' }), listText),
          ),
      }),
      verify: command({
        summary: 'reads every stored byte again and compares it with its checksum',
        settings: adminConfigs.plain,
        run: (config) => withServer(config, (channel) => verify(config, out, channel)),
      }),
      status: command({
        summary: 'shows what is registered, due, under way and failing',
        settings: adminConfigs.plain,
        run: (config) =>
          withServer(config, async (channel) =>
            tell(config, out, await ask<StatusResult>(channel, { kind: 'status' }), statusText),
          ),
      }),
      shutdown: command({
        summary: 'stops server, nodes manager and backup requesters; nodes stay',
        settings: adminConfigs.plain,
        run: (config) =>
          withServer(config, async (channel) => {
            const answer = await ask<{ stopping: string[] }>(channel, { kind: 'shutdown' });
            tell(config, out, answer, ({ stopping }) => `stopping: ${stopping.join(', ')}; nodes stay`);
          }),
      }),
    },
  });
}

const pollMs = 100;

async function backUp(config: AdminConfig & { node: string; path: string }, out: Out): Promise<void> {
  await withServer(config, async (channel) => {
    const asked = await ask<{ node: string; path: string; attempts: number }>(channel, {
      kind: 'backupNow',
      node: config.node,
      path: config.path,
    });
    const bar = startBar('backing up', 0);
    let task: Task | undefined;
    try {
      for (;;) {
        const { tasks } = await ask<StatusResult>(channel, { kind: 'status' });
        task = tasks.find(({ node, path }) => node === asked.node && path === asked.path);
        if (task === undefined) throw new ExitError(`${named(asked)} was unregistered meanwhile`);
        if (task.attempts > asked.attempts) break;
        const bytes = task.current?.progress?.bytes ?? 0;
        bar.to(bytes, Math.max(bytes, task.last?.bytes ?? 0));
        await pause(pollMs);
      }
    } finally {
      bar.stop();
    }
    const { result, ...outcome } = task.last!;
    if (result === 'failed') throw new ExitError(`the backup of ${named(asked)} failed: ${outcome.reason ?? ''}`);
    tell(config, out, { outcome: result, ...outcome }, () => `${named(asked)}: ${outcomeText(task)}`);
  });
}

interface Fetched {
  version: Version;
  entries: Entry[];
  download: Download;
  progress: (bytes: number) => void;
}

async function fetchVersion(
  config: AdminConfig & { node: string; path: string; version?: number | undefined; partial: boolean },
  out: Out,
  done: string,
  place: string,
  { check, write }: { check: (place: string) => Promise<void>; write: (fetched: Fetched) => Promise<void> },
): Promise<void> {
  await check(place).catch((error: unknown) => {
    throw explained(error, config);
  });
  await withServer(config, async (channel) => {
    const { node, path, version: number, partial } = config;
    const { version, entries, damaged: leftOut } = await askVersion(channel, { node, path, version: number, partial });
    const totals = totalsOf(entries);
    const bar = startBar(`version ${version.version}`, totals.bytes);
    let bytes = 0;
    const onInterrupt = (): void => channel.destroy(new ExitError('interrupted', 130));
    process.once('SIGINT', onInterrupt);
    try {
      await write({ version, entries, download: new Download(channel, entries), progress: (more) => bar.to((bytes += more)) });
    } catch (error) {
      throw await reportDamage(channel, error);
    } finally {
      process.off('SIGINT', onInterrupt);
      bar.stop();
    }
    const answer = { node, path: version.path, version: version.version, ...totals, leftOut, notes: version.notes };
    const damaged = leftOut === 0 ? '' : `, without ${leftOut} damaged files`;
    tell(
      config,
      out,
      answer,
      () =>
        `version ${version.version} of ${named(version)} is ${done} to ${place}: ${totals.files} files, ${bytesText(totals.bytes)}${damaged}`,
    );
  });
}

async function verify(config: AdminConfig, out: Out, channel: Channel): Promise<void> {
  const bar = startBar('verifying', 0);
  let result: VerifyResult;
  try {
    result = await ask<VerifyResult>(channel, { kind: 'verify' }, ({ bytes, total = 0 }) => bar.to(bytes, total));
  } finally {
    bar.stop();
  }
  tell(config, out, result, ({ bytes, findings, damaged }) =>
    [
      `${bytesText(bytes)} read, ${findings.length === 0 ? 'all as it was written' : `${findings.length} damaged places found`}`,
      ...findings.map(({ what, place, repaired }) => `  ${what} at ${place}${repaired ? ', repaired' : ''}`),
      ...damaged.map((version) => `damaged: version ${version.version} of ${named(version)}: ${filesText(version.damagedFiles)}`),
    ].join('\n'),
  );
  if (result.damaged.length > 0)
    throw new ExitError(`${result.damaged.length} versions are damaged; the next backup brings back what its node still has`);
}

// For people.

const filesShown = 5;

function filesText(files: readonly string[]): string {
  const shown = files.slice(0, filesShown).map(printable).join(', ');
  return files.length > filesShown ? `${shown} and ${files.length - filesShown} more` : shown;
}

const countText = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? '' : 's'}`;
const timeText = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').slice(0, 19);

function listText(versions: readonly ListedVersion[]): string {
  if (versions.length === 0) return 'no versions yet';
  const rows = versions.map((version) => {
    const { node, path, state, damagedFiles, notes } = version;
    const remark =
      state === 'whole'
        ? notes.length === 0
          ? 'whole'
          : `whole, ${countText(notes.length, 'note')}`
        : `${state}: ${filesText(damagedFiles)}`;
    return [
      node,
      printable(path),
      version.version,
      timeText(version.createdMs),
      version.files,
      bytesText(version.bytes),
      bytesText(version.storedBytes),
      remark,
    ];
  });
  const notes = versions.flatMap((version) =>
    version.notes.map(
      ({ path, note }) =>
        `note on version ${version.version} of ${named(version)}: ${printable(path === '' ? version.path : path)}: ${printable(note)}`,
    ),
  );
  const head = ['node', 'path', 'version', 'made (UTC)', 'files', 'size', 'stored', 'state'];
  return [tableText(head, rows), ...notes].join('\n');
}

function statusText({ tasks, nowMs, store }: StatusResult): string {
  const rows = tasks.map((task) => {
    const next = task.current === undefined ? inText(task.dueMs - nowMs) : nowText(task);
    const retry = task.failures > 0 ? ` (try ${task.failures + 1})` : '';
    return [task.node, printable(task.path), task.address, task.every, task.keep ?? 'all', next + retry, outcomeText(task)];
  });
  const damaged = store.damaged === 0 ? 'none damaged' : `${store.damaged} damaged ("list" names the files)`;
  const held = `${countText(store.versions, 'version')}, ${damaged}; ${bytesText(store.bytes)} in ${countText(store.packs, 'pack')}`;
  const head = ['node', 'path', 'address', 'every', 'keep', 'next', 'last'];
  return `${tasks.length === 0 ? 'nothing is registered' : tableText(head, rows)}\n${held}`;
}

function inText(ms: number): string {
  if (ms <= 0) return 'now';
  return ms < 120_000 ? `in ${Math.ceil(ms / 1000)} s` : `in ${Math.round(ms / 60_000)} min`;
}

function nowText({ current }: Task): string {
  const { files, bytes } = current!.progress ?? { files: 0, bytes: 0 };
  return files === 0 ? 'under way' : `under way: ${files} files, ${bytesText(bytes)}`;
}

function outcomeText({ last }: Task): string {
  if (last === undefined) return 'never yet';
  const { result, version, files, bytes, sentBytes, elapsedMs, reason } = last;
  if (result === 'failed' || result === 'superseded') return `${result}: ${printable(reason ?? '')}`;
  const what =
    result === 'version'
      ? `version ${version}`
      : result === 'healed'
        ? `version ${version} healed`
        : `unchanged since version ${version}`;
  const notes = reason === undefined ? '' : `; ${printable(reason)}`;
  return `${what}: ${files} files, ${bytesText(bytes)}, ${bytesText(sentBytes)} sent, ${(elapsedMs / 1000).toFixed(1)} s${notes}`;
}
