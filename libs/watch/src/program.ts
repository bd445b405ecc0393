/** `npx nx look APP`: shows the running system, or a recorded run, in a browser; or saves the run as one file. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  command,
  ExitError,
  exitCodes,
  interruptible,
  path,
  pathError,
  runCommand,
  wholeNumber,
  type MainIo,
} from '@lab/process';
import { z } from 'zod';
import { askedFaults, runAgain, simulatorOf } from './again.ts';
import { documentOf, makeTemplate, savedDocument, type Template } from './document.ts';
import { serveLive } from './live.ts';
import { readRecording, type Recording } from './recording.ts';
import { watchRunning } from './running.ts';
import { answer, bodyOf, pageRoutes, serve, type Routes, type Served } from './server.ts';

/** A larger one has more events than a page can show. */
const fileBytesMax = 256 * 1024 * 1024;

const settings = z.object({
  replay: path
    .optional()
    .describe(
      'shows a recording, a file that "npx nx simulate APP --seed N --events FILE" has written, not what "npx nx up APP" started',
    ),
  save: path
    .optional()
    .describe('of a replay: writes the page to this file, at most 5 MB, and shows nothing; a browser opens it from the disk'),
  port: wholeNumber(0, 65_535).default(0).describe('port on 127.0.0.1; default any that is free'),
});

/** The program. Resolves with the exit code. */
export function watchProgram(io: MainIo): Promise<number> {
  const watch = command({
    summary:
      'Shows a system that is up, or a recorded run, in a browser on this machine: a map, the time, the journey of each message. Ctrl-C ends it.',
    settings,
    run: async ({ replay, save, port }) => {
      if (replay === undefined) {
        if (save !== undefined)
          throw new ExitError('--save is of a --replay; the page of a running system has a button', exitCodes.usage);
        return showRunning(port, io);
      }
      if (save !== undefined && save === replay)
        throw new ExitError(`${save} is the recording itself: name another file to save the page in`, exitCodes.usage);
      const recording = await recordingIn(replay);
      const template = await makeTemplate();
      if (save !== undefined) return saveTo(save, template, recording, io);
      await serveUntilInterrupted(template, recording, port, io);
    },
  });
  return runCommand('npx nx look APP', watch, io);
}

async function recordingIn(file: string): Promise<Recording> {
  const refused = (error: unknown): never => {
    const made = `npx nx simulate ${basename(process.cwd())} --seed 3 --events FILE`;
    throw pathError(error, `${file} cannot be read: `, `; "${made}" writes such a file`);
  };
  const { size } = await stat(file).catch(refused);
  if (size > fileBytesMax)
    throw new ExitError(`${file} has ${size} bytes, more than ${fileBytesMax}: record a shorter run`, exitCodes.usage);
  return readRecording(await readFile(file, 'utf8').catch(refused), file);
}

async function saveTo(file: string, template: Template, recording: Recording, io: MainIo): Promise<void> {
  const saved = savedDocument(template, recording);
  await writeFile(file, saved).catch((error: unknown) => {
    throw pathError(error, `${file} cannot be written: `);
  });
  io.stdout(`${file}: ${(Buffer.byteLength(saved) / 1024).toFixed(0)} KiB, opens in any browser\n`);
}

function showRunning(port: number, io: MainIo): Promise<void> {
  return interruptible(async (interrupted) => {
    await using opened = new AsyncDisposableStack();
    const running = await watchRunning(process.cwd());
    opened.defer(running.close);
    const served = await serveLive(await makeTemplate(), running.feed, port, running.breakable);
    opened.defer(served.close);
    running.follow(served.isAnybodyThere);
    io.stdout(`${served.url}\nCtrl-C ends it, and what was broken by its buttons.\n`);
    await new Promise((done) => interrupted.addEventListener('abort', done, { once: true }));
  });
}

function serveUntilInterrupted(template: Template, recording: Recording, port: number, io: MainIo): Promise<void> {
  return interruptible(async (interrupted) => {
    const served = await servePage(template, recording, port, simulatorOf(recording, process.cwd()));
    io.stdout(`${served.url}\nCtrl-C ends it.\n`);
    await new Promise((done) => interrupted.addEventListener('abort', done, { once: true }));
    await served.close();
  });
}

/** Serves the page of a recording; with the simulator of its app, the page can run it again. */
export function servePage(template: Template, recording: Recording, port: number, simulator?: string): Promise<Served> {
  const page = documentOf(template, recording, simulator === undefined ? undefined : 'again');
  return serve(
    {
      ...pageRoutes(
        () => page,
        () => savedDocument(template, recording),
      ),
      ...(simulator !== undefined && againRoute(recording, simulator)),
    },
    port,
  );
}

const againRoute = (recording: Recording, simulator: string): Routes => ({
  again: {
    method: 'POST',
    handle: async (request, response) => {
      const again = await runAgain(simulator, recording, (await bodyOf(request, askedFaults)).faults);
      answer(response, 200, 'application/json', JSON.stringify(again));
    },
  },
});
