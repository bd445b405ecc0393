/** What a command works with: the member, and where the answers go. And what goes wrong, in one sentence with an exit code. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { ConfigError, ExitError, exitCodes, pathError, systemClock, type Clock } from '@lab/process';
import { HandshakeError } from '@lab/protocol';
import { addressesOf, ask, connectTo } from '../wire/asking.ts';
import { askOver, askPlainly, trustOf } from '../wire/tls.ts';
import { Refusal } from '../wire/refusal.ts';
import type { ClientConfig } from './commands.ts';
import { Consortium, NoAnswerError } from './consortium.ts';
import { Member } from './member.ts';
import { Sessions, SessionsError, type Kept } from './sessions.ts';
import { exitBrokenPipe, jsonLine, withoutControls, write, type Streams } from './terminal.ts';
import { silenceMs, watch, type WatchOptions } from './watch.ts';

export interface Desk {
  readonly streams: Streams;
  /** Answers are for programs. */
  readonly json: boolean;
  readonly member: Member;
  /** How nodes are connected to; without it over plain TCP. */
  readonly tls: ConnectionOptions | undefined;
  /** Answers: for programs the value as JSON, for people the text. Resolves when it was written. */
  readonly answer: (value: object, text: string) => Promise<void>;
  /** Says on stderr what is going on: a line for people, or an object with a `note`. */
  readonly say: (text: string) => Promise<void>;
}

export interface DeskOptions {
  /** The command makes a session or needs none: a kept one that cannot be read does not matter. */
  readonly anybody?: boolean;
  /** Ends what is tried again and again. */
  readonly signal?: AbortSignal;
}

const defaultAgents = ['127.0.0.1:8000'];
const defaultFolder = (): string => join(homedir(), '.lab-news-consortium');

export async function openDesk(streams: Streams, settings: ClientConfig, options: DeskOptions = {}): Promise<Desk> {
  const sessions = new Sessions(settings.sessions ?? defaultFolder(), settings.as);
  const kept = await loadKept(sessions, options.anybody ?? false);
  const agents = settings.agents ?? kept?.agents ?? defaultAgents;
  const ca = await certificateOf(settings, kept);
  const tls = ca === undefined ? undefined : trustOf(ca, settings.ca ?? 'the session');
  const say = (text: string): Promise<void> =>
    write(streams.stderr, settings.json ? jsonLine({ note: text }) : `${withoutControls(text)}\n`);
  const consortium = new Consortium({
    ...{ clock: systemClock, patienceMs: settings.patience },
    ask: tls === undefined ? askPlainly(ask) : askOver(ask, tls),
    agents: () => addressesOf(agents),
    onTrouble: troubleTeller(systemClock, settings.patience, say),
    ...(options.signal !== undefined && { signal: options.signal }),
  });
  return {
    ...{ streams, json: settings.json, tls },
    member: new Member({ consortium, sessions, agents, ca, newId: randomUUID }, kept),
    answer: (value, text) => write(streams.stdout, settings.json ? jsonLine(value) : text),
    say,
  };
}

/** Follows areas with the member's session. */
export function watchAs(
  { member: { consortium, kept }, tls }: Pick<Desk, 'member' | 'tls'>,
  options: Pick<WatchOptions, 'areas' | 'onItem' | 'onChange' | 'onBegin' | 'signal'>,
): Promise<void> {
  const connect: WatchOptions['connect'] = (address) => connectTo(address, { idleTimeoutMs: silenceMs, tls });
  return watch({ ...options, consortium, token: kept.token, connect, clock: systemClock });
}

/** Other agents than those of the session show another certificate, or none. */
async function certificateOf(settings: ClientConfig, kept: Kept | undefined): Promise<string | undefined> {
  if (settings.ca === undefined) return settings.agents === undefined ? kept?.ca : undefined;
  return readFile(settings.ca, 'utf8').catch((error: unknown) => {
    throw pathError(error, 'the certificate cannot be read: ');
  });
}

async function loadKept(sessions: Sessions, anybody: boolean): Promise<Kept | undefined> {
  try {
    return await sessions.load();
  } catch (error) {
    if (anybody && error instanceof SessionsError) return undefined;
    throw error;
  }
}

const patientSilentlyMs = 1_000;
/** Longer than one try and the pause behind it: after so long without trouble, the next one is another. */
const troubleOverMs = 3_000;

/** Says once of each trouble that there is one, when it has lasted for a second. */
export function troubleTeller(clock: Clock, patienceMs: number, say: (text: string) => Promise<void>): (error: Error) => void {
  let [beganMs, lastMs, told] = [-Infinity, -Infinity, false];
  return (error) => {
    const nowMs = clock.nowMs();
    if (nowMs - lastMs > troubleOverMs) [beganMs, told] = [nowMs, false];
    lastMs = nowMs;
    if (told || nowMs - beganMs < patientSilentlyMs) return;
    told = true;
    // Who reads no errors does not stop the work.
    say(`no answer yet: ${error.message}; trying for ${patienceMs / 1_000} s`).catch(() => undefined);
  };
}

/** Runs a command's work; what it throws becomes a sentence, or one JSON object, and an exit code. */
export async function explained(json: boolean, work: () => Promise<void>): Promise<number> {
  try {
    await work();
    return exitCodes.ok;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return exitBrokenPipe;
    if (error instanceof ConfigError) throw error;
    const known = describeError(error);
    if (known === undefined) throw error;
    const { code, message, exitCode } = known;
    const text = json ? jsonLine({ error: { code, message } }).trimEnd() : sentence(known);
    throw new ExitError(text, exitCode, { cause: error });
  }
}

export interface Described {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
}

/** What went wrong here, and is nobody's refusal. */
const notDone = 'not-done';

export const sentence = ({ code, message }: Pick<Described, 'code' | 'message'>): string =>
  withoutControls(code === notDone ? message : `${message} (${code})`);

/** Undefined for what nobody foresaw. */
export function describeError(error: unknown): Described | undefined {
  if (error instanceof Refusal) return { code: error.code, message: error.message, exitCode: exitCodes.failed };
  if (error instanceof NoAnswerError) return { code: 'no-answer', message: error.message, exitCode: exitCodes.unavailable };
  if (error instanceof HandshakeError) return { code: notDone, message: error.message, exitCode: error.exitCode };
  if (error instanceof ExitError) return { code: notDone, message: error.message, exitCode: error.exitCode };
  return undefined;
}
