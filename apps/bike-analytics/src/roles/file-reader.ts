/**
 * File-reader, the client: reads the three topics of the three cities, checks each row, cuts the columns that the system needs, sends them in
 * batches, and waits for the answers. It does not filter, join or sum.
 *
 * The session lives here: the files can be read again, so whatever breaks on the way, the client comes back and sends again what was
 * not acknowledged. A repeat does no harm.
 */
import type { Piece } from '@lab/columns';
import type { Clock } from '@lab/process';
import { ConnectError, ConnectionClosedError, FrameTooLargeError, FramingError, type FramedSocket } from '@lab/protocol';
import { queries } from '../domain/queries.ts';
import type { Values } from '../domain/query.ts';
import { cities, topics, type City, type Topic } from '../domain/terms.ts';
import { beatsPerTimeout, decode, encodeParts, type Head, type Message } from '../messages.ts';
import { RefusedError } from './client-session.ts';

/** A file in pieces, in order, to be gone through once; opened again, it gives the same ones. It may read ahead, until it is disposed of. */
export interface FilePieces extends AsyncIterable<Piece>, AsyncDisposable {}

export interface FileReaderParts {
  clock: Clock;
  /** Where the rows come from. A file may have to be opened several times. */
  open(city: City, topic: Topic): FilePieces;
  /** Tries once to connect to the entry point; a `ConnectError` is tried again. */
  connect(): Promise<FramedSocket>;
  /** So long after it was last taken in, or began, the client gives up. */
  unwelcomeMaxMs: number;
  newSessionId(): string;
  /** Of the queries. */
  settings: Values;
  /** Hears of each piece that was sent, at the end of what was not taken of the file; what it throws ends the reading. What it returns is waited for. */
  onPiece?: (city: City, topic: Topic, piece: Piece) => Promise<void> | undefined | void;
  /** Hears what broke, and what the client does about it. */
  onTrouble(advice: string, reason: string): void;
  /** Hears why the system takes no more batches for now, and with nothing when it does again. */
  onWaiting?: (reason: string | undefined) => void;
  /** Hears of what there is of each query's answer while the system is at work. */
  onAnswerSoFar?: ((query: number, answer: unknown) => void) | undefined;
}

export interface Outcome {
  /** The system's answers. */
  result: unknown;
  /** From the first frame to the accepted result. */
  elapsedMs: number;
}

interface SessionState {
  id: string;
  acknowledged: Map<Topic, number>;
  shards: number | undefined;
  /** That took it in last. */
  entryPoint: string | undefined;
  /** Until then the system keeps the session for us. */
  safeUntilMs: number;
}

/** Nobody took us in for too long. */
export class UnwelcomeError extends Error {
  override readonly name = 'UnwelcomeError';
}

/** So many connections may break between two topics' acknowledgements, whatever they brought. */
const brokenMax = 1000;
/** Pause before the next try: none after a connection that was welcome, otherwise growing to this. */
const pauseMsMax = 1_000;

/**
 * Sends all and resolves with the result. Rejects with a `RefusedError` when the system will not have it, with an `UnwelcomeError` when it is not taken in for
 * `unwelcomeMaxMs`, with what reading the files throws, and at once with what no repeat can help, as a frame that never fits.
 */
export async function readFiles(parts: FileReaderParts): Promise<Outcome> {
  const { clock } = parts;
  let session = newSession(parts);
  let startMs: number | undefined;
  let welcomeMs = clock.nowMs();
  let [unwelcome, broken] = [0, 0];
  for (;;) {
    const acknowledgedBefore = session.acknowledged.size;
    let conversation: Conversation | undefined;
    try {
      const socket = await parts.connect();
      startMs ??= clock.nowMs();
      if (clock.nowMs() > session.safeUntilMs) session = newSession(parts);
      conversation = new Conversation(parts, session, socket);
      const result = await conversation.run(welcomeMs + parts.unwelcomeMaxMs).finally(() => socket.destroy());
      return { result, elapsedMs: clock.nowMs() - startMs };
    } catch (error) {
      broken = session.acknowledged.size > acknowledgedBefore ? 0 : broken + 1;
      unwelcome = conversation?.welcomed === true ? 0 : unwelcome + 1;
      if (unwelcome === 0) welcomeMs = clock.nowMs();
      if (unwelcome > 0 && error instanceof FrameTooLargeError)
        throw new UnwelcomeError(`what answers is no entry point: ${error.message}`, { cause: error });
      if (error instanceof RefusedError && error.again) session = newSession(parts);
      else if (!isWorthAnotherTry(error) || broken === brokenMax) throw error;
      const unwelcomeMs = clock.nowMs() - welcomeMs;
      if (unwelcomeMs >= parts.unwelcomeMaxMs) throw unwelcomeFor(unwelcomeMs, error);
      parts.onTrouble(adviceOf(error, conversation), (error as Error).message);
    }
    const pauseMs = unwelcome === 0 ? 0 : Math.min(pauseMsMax, 25 * 2 ** unwelcome);
    await new Promise<void>((resolve) => void clock.after(pauseMs, resolve));
  }
}

/** What the client does next. */
function adviceOf(error: unknown, conversation: Conversation | undefined): string {
  if (error instanceof RefusedError) return 'beginning again with a new session';
  return conversation?.welcomed === true ? 'connection lost, going on over a new one' : 'not taken in, trying again';
}

/** A frame that is too large now is so for ever. */
const isWorthAnotherTry = (error: unknown): boolean =>
  error instanceof ConnectError ||
  error instanceof UnwelcomeError ||
  (error instanceof FramingError && !(error instanceof FrameTooLargeError));

function unwelcomeFor(ms: number, cause: unknown): UnwelcomeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new UnwelcomeError(`not taken in by the entry point for ${Math.round(ms / 1000)} s: ${reason}`, { cause });
}

function newSession(parts: FileReaderParts): SessionState {
  return {
    id: parts.newSessionId(),
    acknowledged: new Map(),
    shards: undefined,
    entryPoint: undefined,
    safeUntilMs: Infinity,
  };
}

const serverKinds = ['welcome', 'acknowledged', 'alive', 'progress', 'result', 'refused'] as const;
type ServerKind = (typeof serverKinds)[number];

/** One connection's worth of a session. */
class Conversation {
  readonly #parts: FileReaderParts;
  readonly #session: SessionState;
  readonly #socket: FramedSocket;
  readonly #welcome = Promise.withResolvers<Head<'welcome'>>();
  readonly #acknowledged = new Map(topics.map((topic) => [topic, Promise.withResolvers<void>()]));
  readonly #result = Promise.withResolvers<unknown>();
  #sessionTimeoutMs = Infinity;
  /** Why the system takes no batch now. */
  #waiting: string | undefined;
  /** The entry point took us in. */
  welcomed = false;

  constructor(parts: FileReaderParts, session: SessionState, socket: FramedSocket) {
    this.#parts = parts;
    this.#session = session;
    this.#socket = socket;
  }

  /** The result. Rejects with an `UnwelcomeError` when it is not taken in until then. */
  async run(unwelcomeUntilMs: number): Promise<unknown> {
    const listening = this.#listen();
    // Whoever waits for an answer hears of it through the promise it waits for.
    for (const wait of [this.#welcome, this.#result, ...this.#acknowledged.values()]) {
      listening.catch(wait.reject);
      wait.promise.catch(() => {});
    }
    const { id, acknowledged, shards, entryPoint } = this.#session;
    await this.#send({
      kind: 'hello',
      session: id,
      acknowledged: Object.fromEntries(acknowledged),
      ...(shards !== undefined && { shards }),
      ...(entryPoint !== undefined && { entryPoint }),
      settings: this.#parts.settings,
      queries: queries.map(({ name }) => name),
      progress: this.#parts.onAnswerSoFar !== undefined,
    });
    const welcome = await this.#welcomeBy(unwelcomeUntilMs);
    Object.assign(this.#session, { shards: welcome.shards, entryPoint: welcome.entryPoint });
    const stopPinging = this.#parts.clock.every(
      welcome.sessionTimeoutMs / beatsPerTimeout,
      () => void this.#send({ kind: 'ping' }).catch(() => {}),
    );
    try {
      await Promise.race([this.#sendTopics(welcome), listening]);
      const result = await this.#result.promise;
      // Who has the result does not ask again: the system may have forgotten it. A session that nobody ends lapses.
      await this.#send({ kind: 'accepted' })
        .then(() => this.#socket.close())
        .catch(() => undefined);
      return result;
    } finally {
      stopPinging();
    }
  }

  async #welcomeBy(untilMs: number): Promise<Head<'welcome'>> {
    const { clock } = this.#parts;
    const giveUp = (): void => this.#welcome.reject(new UnwelcomeError('it says nothing'));
    const cancel = untilMs === Infinity ? () => {} : clock.after(Math.max(0, untilMs - clock.nowMs()), giveUp);
    return this.#welcome.promise.finally(cancel);
  }

  async #sendTopics(welcome: Head<'welcome'>): Promise<void> {
    for (const topic of topics) {
      if (this.#session.acknowledged.has(topic)) continue;
      const batches = await this.#sendTopic(topic, welcome.received[topic] ?? 0);
      await this.#send({ kind: 'eof', topic, eof: 1, batches });
      await this.#acknowledged.get(topic)?.promise;
      this.#session.acknowledged.set(topic, batches);
    }
  }

  /** Sends a topic's batches from number `from` on, and returns how many there are in all. */
  async #sendTopic(topic: Topic, from: number): Promise<number> {
    let number = 0;
    await using opened = new AsyncDisposableStack();
    const open = (city: City | undefined): FilePieces | undefined => city && opened.use(this.#parts.open(city, topic));
    let next = open(cities[0]);
    for (const [index, city] of cities.entries()) {
      const file = next!;
      // It has its first batches ready then.
      next = open(cities[index + 1]);
      for await (const piece of file) {
        if ('batch' in piece) {
          const { rows, table } = piece.batch;
          if (number >= from) await this.#send({ kind: 'batch', topic, eof: 0, number, city, rows }, table);
          number += 1;
        }
        await this.#parts.onPiece?.(city, topic, piece);
      }
    }
    return number;
  }

  async #send(head: Head, ...body: readonly Uint8Array[]): Promise<void> {
    await this.#socket.send(...encodeParts(head, ...body));
  }

  /** Ends only with the connection; before the result that is an error. */
  async #listen(): Promise<void> {
    for await (const frame of this.#socket) {
      this.#hear(decode(frame, ...serverKinds));
      // The system renews a session every beat and keeps it for a timeout: two beats less than that we may come back.
      this.#session.safeUntilMs = this.#parts.clock.nowMs() + this.#sessionTimeoutMs * (1 - 2 / beatsPerTimeout);
    }
    throw new ConnectionClosedError('by the entry point');
  }

  #hear({ head, body }: Message<ServerKind>): void {
    switch (head.kind) {
      case 'welcome':
        this.welcomed = true;
        this.#sessionTimeoutMs = head.sessionTimeoutMs;
        return this.#welcome.resolve(head);
      case 'acknowledged':
        return this.#acknowledged.get(head.topic)?.resolve();
      case 'progress':
        return this.#parts.onAnswerSoFar?.(head.query, JSON.parse(body.toString()));
      case 'result':
        return this.#result.resolve(JSON.parse(body.toString()));
      case 'refused':
        throw new RefusedError(head.reason, head.again);
      case 'alive':
        if (head.waiting !== this.#waiting) this.#parts.onWaiting?.(head.waiting);
        this.#waiting = head.waiting;
        return;
    }
  }
}
