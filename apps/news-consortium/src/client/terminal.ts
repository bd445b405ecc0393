/** The client's ends of the world: what is typed comes in, results go to stdout, and what is going on goes to stderr. */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { ExitError, exitCodes } from '@lab/process';

type MaybeTerminal = { readonly isTTY?: boolean };
type Input = Readable & MaybeTerminal & { setRawMode?: (on: boolean) => unknown };

export interface Streams {
  readonly stdin: Input;
  readonly stdout: Writable & MaybeTerminal;
  readonly stderr: Writable & MaybeTerminal;
}

/** What a shell says of a program that Ctrl-C, or a reader who left, has ended. */
const exitInterrupted = 130;
export const exitBrokenPipe = 141;

/** Resolves when the system has taken all of it: from then on it does not depend on this process. Rejects where nobody reads any more. */
export async function write(stream: Writable, text: string): Promise<void> {
  // What is wrong with the stream comes to the callback, too; an event that nobody hears would end the process.
  if (stream.listenerCount('error') === 0) stream.on('error', () => undefined);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.write(text, (error) => (error ? reject(error) : resolve()));
  return promise;
}

/** What others wrote must not act on the reader's terminal: control characters but tab and line feed are left out. */
export const withoutControls = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');

/** JSON in one line. Its own rules leave the control characters from U+007F on as they are. */
export const jsonLine = (value: unknown): string =>
  `${JSON.stringify(value).replace(/[\u007f-\u009f]/g, (found) => `\\u00${found.charCodeAt(0).toString(16)}`)}\n`;

/** What `@inquirer/prompts` is told beside the question. */
export interface PromptContext {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}

/** Whoever was asked has left: Ctrl-C, Ctrl-D, or the end of what is typed. */
export class LeftError extends ExitError {
  constructor() {
    super('nothing was done', exitInterrupted);
  }
}

/** Asks; throws `LeftError` where whoever was asked leaves, or the signal ends it. */
export async function prompted<T>(
  { input, output }: { input: Input; output: Writable },
  prompt: (context: PromptContext) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const left = new AbortController();
  const leave = (): void => left.abort();
  const onKey = (_: unknown, key?: { ctrl?: boolean; name?: string }): void => {
    if (key?.ctrl === true && key.name === 'd') leave();
  };
  await forgetTyped(input);
  input.on('keypress', onKey).once('end', leave);
  if (input.readableEnded || input.destroyed) leave();
  try {
    return await prompt({ input, output, signal: AbortSignal.any([left.signal, ...(signal === undefined ? [] : [signal])]) });
  } catch (error) {
    if (error instanceof Error && /^(Exit|Abort)PromptError$/.test(error.name)) throw new LeftError();
    throw error;
  } finally {
    input.off('keypress', onKey).off('end', leave);
  }
}

/** What was typed before a question is no answer to it. */
async function forgetTyped(input: Input): Promise<void> {
  // Also what no Enter has ended yet.
  input.setRawMode?.(true);
  input.resume();
  // One round of the event loop reads what is there.
  for (let round = 0; round < 3; round++) await setImmediate();
  input.pause();
}

/** Passwords, asked for one after the other, without an echo, where somebody sits at a terminal; otherwise the first lines of what is piped in. */
export async function readPasswords(
  streams: Streams,
  questions: readonly { readonly message: string; readonly twice: boolean }[],
): Promise<string[]> {
  if (streams.stdin.isTTY !== true) return firstLines(streams.stdin, questions.length);
  const { password } = await import('@inquirer/prompts');
  const asked = (message: string): Promise<string> =>
    prompted({ input: streams.stdin, output: streams.stderr }, (context) => password({ message }, context));
  const given: string[] = [];
  for (const { message, twice } of questions) {
    given.push(await asked(message));
    if (twice && (await asked('Once more:')) !== given.at(-1))
      throw new ExitError('the two passwords differ: nothing was done', exitCodes.usage);
  }
  return given;
}

async function firstLines(stdin: Readable, count: number): Promise<string[]> {
  const found: string[] = [];
  for await (const line of createInterface({ input: stdin })) if (found.push(line) === count) break;
  stdin.pause();
  if (found.length < count || found.includes(''))
    throw new ExitError(
      count === 1
        ? 'there is no password: pipe it in as the first line, or give --password'
        : `a password is missing: pipe ${count} in, a line each`,
      exitCodes.usage,
    );
  return found;
}
