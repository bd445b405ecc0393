/** `npx nx look APP`: shows a recorded run in a browser, or saves it as one file. */
import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { command, ExitError, exitCodes, interruptible, pathError, runMain, wholeNumber, type MainIo } from '@lab/process';
import { z } from 'zod';
import { documentOf, makeTemplate, savedDocument, type Template } from './document.ts';
import { readRecording, type Recording } from './recording.ts';

/** A larger one has more events than a page can show. */
const fileBytesMax = 256 * 1024 * 1024;

const settings = z.object({
  replay: z.string().describe('the recording to show: a file that "npx nx simulate APP --seed N --events FILE" has written'),
  save: z
    .string()
    .optional()
    .describe('writes the page to this file, at most 5 MB, and shows nothing; a browser opens it from the disk'),
  port: wholeNumber(0, 65_535).default(0).describe('port on 127.0.0.1; default any that is free'),
});

/** The program. Resolves with the exit code. */
export function watchProgram(io: MainIo): Promise<number> {
  const watch = command({
    summary: 'Shows a recorded run in a browser on this machine: a map, the time, the journey of each message. Ctrl-C ends it.',
    settings,
    run: async ({ replay, save, port }) => {
      const recording = await recordingIn(replay);
      const template = await makeTemplate();
      if (save !== undefined) return saveTo(save, template, recording, io);
      await serveUntilInterrupted(template, recording, port, io);
    },
  });
  // Of `npx nx look APP --help` Nx would show its own.
  return runMain('node', { 'libs/watch/src/main.ts': watch }, { ...io, args: ['libs/watch/src/main.ts', ...io.args] });
}

async function recordingIn(file: string): Promise<Recording> {
  const refused = (error: unknown): never => {
    throw pathError(error, `${resolve(file)} cannot be read: `);
  };
  const { size } = await stat(file).catch(refused);
  if (size > fileBytesMax)
    throw new ExitError(`${file} has ${size} bytes, more than ${fileBytesMax}: record a shorter run`, exitCodes.usage);
  return readRecording(await readFile(file, 'utf8').catch(refused), file);
}

async function saveTo(file: string, template: Template, recording: Recording, io: MainIo): Promise<void> {
  const saved = savedDocument(template, recording);
  await writeFile(file, saved).catch((error: unknown) => {
    throw pathError(error, `${resolve(file)} cannot be written: `);
  });
  io.stdout(`${resolve(file)}: ${(Buffer.byteLength(saved) / 1024).toFixed(0)} KiB, opens in any browser\n`);
}

function serveUntilInterrupted(template: Template, recording: Recording, port: number, io: MainIo): Promise<void> {
  return interruptible(async (interrupted) => {
    const served = await servePage(template, recording, port);
    io.stdout(`${served.url}\nCtrl-C ends it.\n`);
    await new Promise((done) => interrupted.addEventListener('abort', done, { once: true }));
    await served.close();
  });
}

/** Serves the page on 127.0.0.1, at an address that nobody guesses, to no other site. */
export async function servePage(
  template: Template,
  recording: Recording,
  port: number,
): Promise<{ url: string; close(): Promise<void> }> {
  const path = `/${randomBytes(16).toString('base64url')}/`;
  const page = documentOf(template, recording);
  const server = createServer((request, response) => {
    const own = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const status = refusalOf(request, own);
    if (status !== undefined) return answer(response, status, 'text/plain', 'not for you\n');
    if (request.url === path) return answer(response, 200, 'text/html; charset=utf-8', page);
    if (request.url === `${path}save`)
      return answer(response, 200, 'text/html; charset=utf-8', savedDocument(template, recording), {
        'content-disposition': 'attachment',
      });
    return answer(response, 404, 'text/plain', 'There is only the page that the command has printed\n');
  });
  await listen(server, port);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** Whoever got here by another name, or from the page of another site. */
function refusalOf({ method, headers }: IncomingMessage, own: string): number | undefined {
  if (method !== 'GET') return 405;
  if (headers.host !== own || (headers.origin !== undefined && headers.origin !== `http://${own}`)) return 403;
  const site = headers['sec-fetch-site'];
  return site === undefined || site === 'none' || site === 'same-origin' ? undefined : 403;
}

function answer(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "frame-ancestors 'none'",
    ...headers,
  });
  response.end(body);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((done, failed) => {
    server.once('error', (error) =>
      failed(
        new ExitError(`port ${port} cannot be had: ${error.message}; leave --port out for a free one`, exitCodes.usage, {
          cause: error,
        }),
      ),
    );
    server.listen(port, '127.0.0.1', done);
  });
}
