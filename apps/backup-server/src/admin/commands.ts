/** The admin: each command is one connection to the server, and an answer. And the same, as far as it reads, without a server. */
import { duplexPair } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import {
  command,
  commandGroup,
  ExitError,
  exitCodes,
  pathError,
  silentLogger,
  splitAddress,
  systemClock,
  type Command,
  type Commands,
} from '@lab/process';
import { startBar } from '@lab/process/terminal';
import { FramedSocket, FramingError, HandshakeError } from '@lab/protocol';
import type { z } from 'zod';
import { Channel, connectChannel, limits, RefusedError } from '../channel/channel.ts';
import { keyFor, readKey } from '../channel/keys.ts';
import { adminConfigs, openConfigs, type AdminConfig, type ReadingConfigs } from '../config.ts';
import type { Task } from '../domain/registry.ts';
import type { StatusResult } from '../roles/server.ts';
import { serveCommands, StoreCommands, storeCommands } from '../roles/store-commands.ts';
import { openNamed } from '../versions.ts';
import { ask } from './ask.ts';
import { DamagedError } from './download.ts';
import * as reading from './reading.ts';
import { tell, type Out, type Reach } from './reading.ts';
import { countText, named, outcomeText, statusText, troubles } from './texts.ts';

/** What goes wrong on the way becomes a sentence and an exit code. */
const withServer =
  (config: AdminConfig): Reach =>
  async (work) => {
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
  };

/** Answers what the server would, from the store's folder. */
const withStore =
  ({ store: directory }: { store: string }): Reach =>
  async (work) => {
    const [near, far] = duplexPair().map((stream) => new Channel(new FramedSocket(stream, limits))) as [Channel, Channel];
    try {
      const parts = { store: await openNamed(directory, { readOnly: true }), clock: systemClock, log: silentLogger };
      const commands = new StoreCommands(parts, far);
      serveCommands(far, storeCommands, (message) => commands.obey(message), silentLogger).catch((error: Error) =>
        near.destroy(error),
      );
      return await work(near);
    } catch (error) {
      throw explained(error);
    } finally {
      near.destroy();
      far.destroy();
    }
  };

function explained(error: unknown, asked?: AdminConfig): unknown {
  if (error instanceof RefusedError) return new ExitError(error.message, error.code ?? exitCodes.failed, { cause: error });
  if (error instanceof HandshakeError && asked !== undefined)
    return new ExitError(
      `${error.message}. Shown was the key in ${asked.keyFile}: is ${asked.server} the server that it is for?`,
      exitCodes.failed,
      { cause: error },
    );
  if (error instanceof DamagedError) return new ExitError(error.message, exitCodes.failed, { cause: error });
  // A file or folder here, not there.
  if (error instanceof Error && 'syscall' in error && !(error instanceof FramingError)) return pathError(error);
  if (error instanceof FramingError && asked !== undefined)
    return new ExitError(`${error.message}. Is the server at ${asked.server} running?`, exitCodes.unavailable, { cause: error });
  return error;
}

export function adminCommands(out: Out): Command {
  const { register, unregister, backup, forget, status, plain } = adminConfigs;
  return commandGroup({
    summary: 'asks a server: register, unregister, backup, list, files, diff, restore, query, forget, verify, status, shutdown',
    commands: {
      register: command({
        summary: 'has a path of a node backed up from now on; once more, it replaces all that was said of it',
        settings: register,
        run: (config) =>
          withServer(config)(async (channel) => {
            const { server, keyFile, json, ...registration } = config;
            const answer = await ask<Named & { changed: boolean }>(channel, { kind: 'register', ...registration });
            tell(config, out, answer, (done) => {
              const how = done.changed ? 'registered anew' : 'registered';
              return `${named(done)} is ${how}: every ${config.every}, the first time now`;
            });
          }),
      }),
      unregister: command({
        summary: 'ends the backups of a path; its versions stay, unless --forget',
        settings: unregister,
        run: (config) =>
          withServer(config)(async (channel) => {
            const { node, path, forget } = config;
            const answer = await ask<Named & { forgotten: number }>(channel, { kind: 'unregister', node, path, forget });
            const versions = forget ? `${countText(answer.forgotten, 'version')} removed` : 'its versions stay';
            tell(config, out, answer, (done) => `${named(done)} is not backed up any more; ${versions}`);
          }),
      }),
      backup: command({
        summary: 'makes a backup now, and waits for its end',
        settings: backup,
        run: (config) => backUp(config, out),
      }),
      ...readingCommands(adminConfigs, withServer, out),
      forget: command({
        summary: 'removes one version; its number is not given again',
        settings: forget,
        run: (config) =>
          withServer(config)(async (channel) => {
            const { node, path, version } = config;
            const answer = await ask<Named & { version: number }>(channel, { kind: 'forget', node, path, version });
            tell(config, out, answer, (done) => `version ${done.version} of ${named(done)} is removed`);
          }),
      }),
      status: command({
        summary: 'shows what is registered, due, queued, under way, failing and damaged',
        settings: status,
        run: (config) =>
          withServer(config)(async (channel) => {
            const answer = await ask<StatusResult>(channel, { kind: 'status' });
            tell(config, out, answer, statusText);
            const wrong = config.check ? troubles(answer) : [];
            if (wrong.length > 0) throw new ExitError(wrong.join('\n'));
          }),
      }),
      shutdown: command({
        summary: 'stops server, nodes manager and backup requesters; nodes stay',
        settings: plain,
        run: (config) =>
          withServer(config)(async (channel) => {
            const answer = await ask<{ stopping: string[] }>(channel, { kind: 'shutdown' });
            tell(config, out, answer, ({ stopping }) => `stopping: ${stopping.join(', ')}; nodes stay`);
          }),
      }),
    },
  });
}

/** For a store whose server is gone, or whose disk is full or must not be written to. */
export const openCommands = (out: Out): Command =>
  commandGroup({
    summary: 'reads a store without a server: list, files, diff, restore, query, verify',
    commands: readingCommands(openConfigs, withStore, out),
  });

type Named = { node: string; path: string };

type Reader<K extends keyof ReadingConfigs> = (config: ReadingConfigs[K], reach: Reach, out: Out) => Promise<void>;

/** The same with a server and without one. */
const readers: { [K in keyof ReadingConfigs]: [summary: string, read: Reader<K>] } = {
  list: ['shows versions', reading.list],
  files: ['shows what is in a version', reading.files],
  diff: ['shows how a version became another: + added, - removed, M content, U mode, T type', reading.diff],
  query: ['saves a version as FILE.tgz', reading.query],
  restore: ['writes a version into a folder; after it was broken off, it goes on from what is there', reading.restore],
  verify: ['reads every stored byte again and compares it with its checksum', reading.verify],
};

/** `reach` takes what these settings have beside what readers need. */
function readingCommands<C>(
  configs: { [K in keyof ReadingConfigs]: z.ZodObject & z.ZodType<C & ReadingConfigs[K]> },
  reach: (config: C) => Reach,
  out: Out,
): Commands {
  const reader = <K extends keyof ReadingConfigs>(name: K): Command => {
    const [summary, read] = readers[name];
    return command({ summary, settings: configs[name], run: (config) => read(config, reach(config), out) });
  };
  return Object.fromEntries((Object.keys(readers) as (keyof ReadingConfigs)[]).map((name) => [name, reader(name)]));
}

const pollMs = 100;

async function backUp(config: AdminConfig & { node: string; path: string }, out: Out): Promise<void> {
  await withServer(config)(async (channel) => {
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
