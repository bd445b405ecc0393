/**
 * Entry point: takes the clients' batches in order, gives each to the broker of its topic, and brings the answers back. It lets in no
 * more than the window allows, and keeps the sessions alive: while a client is connected it renews its session with all roles, and when one has
 * been away for the session timeout, it ends the session everywhere.
 *
 * It runs once. It holds answers unacknowledged until the client has them; all else that it knows of a session the client knows too, and
 * tells when it comes back.
 */
import {
  BrokerError,
  consumeAlone,
  diedOfBroker,
  heldMax,
  tellHolders,
  TopologyError,
  type Consumer,
  type Delivery,
} from '@lab/middleware';
import type { Role } from '@lab/process';
import type { FramedSocket } from '@lab/protocol';
import { MalformedMessageError } from '@lab/protocol/messages';
import { Admission, type AdmissionLimits } from '../domain/admission.ts';
import { queries } from '../domain/queries.ts';
import { topics, type FilterName } from '../domain/terms.ts';
import { beatsPerTimeout, decode, encode, encodeParts, type Head, type Message } from '../messages.ts';
import { deadLetterLog, failureLimit, queueOf, sessionExchange, surplusQueues } from '../topology.ts';
import { ClientSession, RefusedError } from './client-session.ts';
import type { RoleParts } from './stages.ts';

export interface EntryPointParts extends RoleParts {
  /** Names this life of the entry point, beside the broker's incarnation; new at every start. */
  instance: string;
  /** Number of trips-solvers of each query. */
  shards: number;
  /** How long a session waits for a client that has gone, in milliseconds. */
  sessionTimeoutMs: number;
  limits: AdmissionLimits & { sessionsMax: number };
  /** Opens the door for clients; `serve` is called for each and rejects never. */
  listen(serve: (socket: FramedSocket) => Promise<void>): Promise<{ close(): Promise<void> }>;
}

type ClientMessage = Message<'batch' | 'eof' | 'ping' | 'accepted'>;

/** Not rarer, however long the timeout is: a client takes a silent entry point for dead. */
const beatMsMax = 5_000;
/** So many session timeouts nothing of a session moves that the system is to go on with: what it waits for was lost with a queue. A role that dies is back much sooner. */
const stillTimeoutsMax = 5;

/** So many of the sessions that have ended last are known to have ended. */
const endedKept = 1_000;

export class EntryPointRole implements Role {
  readonly failed: Promise<never>;
  readonly #parts: EntryPointParts;
  readonly #admission: Admission;
  readonly #sessions = new Map<string, ClientSession>();
  /** The last that have ended here: what still comes of them is for nobody. */
  readonly #ended = new Set<string>();
  readonly #fail: (reason: unknown) => void;
  readonly #consumers: Consumer[] = [];
  readonly #madeMs: number;
  /** Of the broker: what was sent to another one is gone. */
  #incarnation = '';
  #server: { close(): Promise<void> } | undefined;
  #stopBeat: (() => void) | undefined;
  #beating = false;
  #beats = 0;

  constructor(parts: EntryPointParts) {
    this.#parts = parts;
    this.#admission = new Admission(parts.limits);
    this.#madeMs = parts.clock.nowMs();
    ({ promise: this.failed, reject: this.#fail } = Promise.withResolvers<never>());
  }

  async start(): Promise<void> {
    const { broker, clock, sessionTimeoutMs } = this.#parts;
    this.#incarnation = await broker.incarnation();
    await broker.declare({ logs: [{ name: deadLetterLog, retentionBytes: 64 * 1024 * 1024 }] });
    await this.#consume(queueOf.passed, (delivery) => this.#onPassed(delivery));
    await this.#consume(queueOf.answers, (delivery) => this.#onAnswer(delivery));
    await this.#consume(queueOf.dead, (delivery) => this.#onDeadLetter(delivery));
    this.#stopBeat = clock.every(Math.min(sessionTimeoutMs / beatsPerTimeout, beatMsMax), () => void this.#beat());
    this.#server = await this.#parts.listen((socket) => this.#serve(socket));
  }

  async stop(): Promise<void> {
    this.#stopBeat?.();
    await this.#server?.close();
    await Promise.all(this.#consumers.map((consumer) => consumer.stop()));
  }

  /** One at a time, and again and again: a trips-solver of a larger number, on its way out, may have made its queue anew. */
  async #removeSurplusQueue(): Promise<void> {
    const surplus = surplusQueues(this.#parts.shards);
    const queue = surplus[this.#beats++ % surplus.length];
    if (queue !== undefined) await this.#parts.broker.remove({ queue });
  }

  async #consume(queue: string, handler: (delivery: Delivery) => void | Promise<void>): Promise<void> {
    // Dead letters have nowhere to go from where they are.
    const limit = queue === queueOf.dead ? {} : { failureLimit };
    const consumer = await consumeAlone(this.#parts, queue, handler, { prefetch: heldMax, ...limit });
    consumer.closed.catch(this.#fail);
    this.#consumers.push(consumer);
  }

  // The client's side.

  async #serve(socket: FramedSocket): Promise<void> {
    let session: ClientSession | undefined;
    let leave: (() => void) | undefined;
    try {
      for await (const frame of socket) {
        if (session === undefined) {
          const { head } = decode(frame, 'hello');
          session = this.#sessionFor(head);
          leave = await session.join(socket);
          // It may have failed while the connection before this one was leaving, and told nobody.
          if (session.failure !== undefined) throw session.failure;
          await this.#welcome(session);
        } else {
          await this.#take(session, decode(frame, 'batch', 'eof', 'ping', 'accepted'));
        }
      }
    } catch (error) {
      await this.#dismiss(socket, session, error);
    } finally {
      leave?.();
      if (session !== undefined) session.absentSinceMs = this.#parts.clock.nowMs();
      socket.destroy();
    }
  }

  /** A client that breaks the protocol loses its session; one whose connection breaks may come back. */
  async #dismiss(socket: FramedSocket, session: ClientSession | undefined, error: unknown): Promise<void> {
    const reason = error instanceof Error ? error.message : String(error);
    this.#parts.log.warn({ session: session?.id, reason }, 'client dismissed');
    if (!(error instanceof RefusedError || error instanceof MalformedMessageError)) return;
    const again = error instanceof RefusedError && error.again;
    if (session !== undefined) return this.#end(session, reason, again);
    await socket.send(...encodeParts({ kind: 'refused', reason, again })).catch(() => {});
    await socket.close().catch(() => {});
  }

  #sessionFor(hello: Head<'hello'>): ClientSession {
    const { shards, limits, sessionTimeoutMs } = this.#parts;
    if (hello.shards !== undefined && hello.shards !== shards) {
      throw new RefusedError(`the session was opened for ${hello.shards} trips-solvers, now there are ${shards}`, true);
    }
    const claimed = Object.values(hello.acknowledged).reduce((sum, batches) => sum + batches, 0);
    if (claimed > limits.batchesMax / 2)
      throw new RefusedError(`a session cannot have had ${claimed} batches: ${limits.batchesMax / 2} are the most`);
    const known = this.#sessions.get(hello.session);
    if (known?.failure !== undefined) throw known.failure;
    if (known === undefined && this.#isOver(hello))
      throw new RefusedError(`nobody asked for the session for ${sessionTimeoutMs / 1000} s: it has to begin again`, true);
    if (hello.entryPoint !== undefined && !hello.entryPoint.startsWith(`${this.#incarnation}/`))
      throw new RefusedError('RabbitMQ has lost what was sent: the session has to begin again', true);
    const busy = [...this.#sessions.values()].filter((session) => session.failure === undefined).length;
    if (known === undefined && busy >= limits.sessionsMax) {
      throw new RefusedError(`busy with ${busy} sessions, the most allowed (--sessions-max): try again later`);
    }
    const own = queries.map(({ name }) => name).join(', ');
    if (hello.queries.join(', ') !== own)
      throw new RefusedError(
        `the client asks for ${hello.queries.join(', ')}, and the system answers ${own}: bring both up to date`,
      );
    const session = known ?? this.#open(hello.session);
    session.asked ??= { settings: hello.settings, progress: hello.progress };
    for (const topic of topics) {
      const batches = hello.acknowledged[topic];
      if (batches !== undefined && !session.acknowledged.has(topic)) session.acknowledged.set(topic, batches);
    }
    this.#admission.open(session.id, session.acknowledged);
    return session;
  }

  /** A session that was taken in, and is not known: it has ended, or this entry point has been there for longer than its predecessor's renewals last. */
  #isOver({ session, entryPoint }: Head<'hello'>): boolean {
    const { clock, sessionTimeoutMs } = this.#parts;
    if (entryPoint === undefined) return false;
    return entryPoint === this.#life || this.#ended.has(session) || clock.nowMs() - this.#madeMs >= sessionTimeoutMs;
  }

  get #life(): string {
    return `${this.#incarnation}/${this.#parts.instance}`;
  }

  #open(id: string): ClientSession {
    this.#ended.delete(id);
    const session = new ClientSession(id, this.#parts.clock.nowMs());
    this.#sessions.set(id, session);
    this.#parts.log.info({ session: id, sessions: this.#sessions.size }, 'session opened');
    return session;
  }

  async #welcome(session: ClientSession): Promise<void> {
    const { sessionTimeoutMs, shards } = this.#parts;
    await this.#renew(session);
    const received = Object.fromEntries(session.received);
    await session.send({ kind: 'welcome', received, sessionTimeoutMs, shards, entryPoint: this.#life });
    if (session.complete) await this.#sendResult(session);
  }

  async #take(session: ClientSession, { head, body }: ClientMessage): Promise<void> {
    switch (head.kind) {
      case 'batch':
        return this.#takeBatch(session, head, body);
      case 'eof':
        return this.#takeEnd(session, head);
      case 'accepted':
        return this.#end(session);
      case 'ping':
        return;
    }
  }

  async #takeBatch(session: ClientSession, batch: Head<'batch'>, table: Buffer): Promise<void> {
    session.checkBatch(batch);
    const { topic, number, city, rows } = batch;
    const batchesMax = this.#parts.limits.batchesMax / 2;
    if (session.batches >= batchesMax)
      throw new RefusedError(`a session cannot have more than ${batchesMax} batches: send more rows in each (--batch-rows)`);
    const { settings, progress } = session.asked!;
    const run = { session: session.id, shards: this.#parts.shards, settings, progress };
    const message = encode({ kind: 'rows', ...run, topic, number, city, rows }, table);
    await this.#admission.admit(session.id, topic, number, message.byteLength);
    this.#parts.countRows(rows);
    session.received.set(topic, number + 1);
    session.movedMs = this.#parts.clock.nowMs();
    const published = this.#parts.broker.publish({ routingKey: queueOf.broker(topic), body: message });
    session.track(published, (error) => {
      const reason = `batch ${number} of ${topic} was not taken by the broker: ${String(error)}`;
      this.#abort(session, reason, error instanceof BrokerError);
    });
  }

  async #takeEnd(session: ClientSession, end: Head<'eof'>): Promise<void> {
    const { topic, batches } = end;
    const run = { session: session.id, shards: this.#parts.shards, settings: session.asked!.settings };
    if (!session.checkEnd(end)) {
      await session.published();
      const body = encode({ kind: 'end', ...run, topic, batches });
      await this.#parts.broker.publish({ routingKey: queueOf.broker(topic), body }).catch((error: unknown) => {
        throw error instanceof BrokerError
          ? new RefusedError(`the end of ${topic} was not taken by the broker: ${String(error)}`, true)
          : error;
      });
      session.acknowledged.set(topic, batches);
      session.movedMs = this.#parts.clock.nowMs();
      this.#parts.log.info({ session: session.id, topic, batches }, 'topic acknowledged');
    }
    await session.send({ kind: 'acknowledged', topic });
  }

  // The system's side.

  #onPassed({ body }: Delivery): void {
    const { head } = decode(body, 'passed');
    this.#admission.passed(head.session, head.topic, head.number, head.by as FilterName);
    const session = this.#sessions.get(head.session);
    if (session !== undefined) session.movedMs = this.#parts.clock.nowMs();
  }

  async #onAnswer({ body: bytes }: Delivery): Promise<void> {
    const { head, body } = decode(bytes, 'answer', 'lapsed');
    if (head.kind === 'lapsed') return this.#onLapsed(head.session);
    if (head.soFar === true) return this.#sessions.get(head.session)?.send({ kind: 'progress', query: head.query }, body);
    if (this.#ended.has(head.session)) return;
    const session = this.#sessions.get(head.session) ?? this.#open(head.session);
    if (session.failure !== undefined) return;
    session.answers.set(head.query, JSON.parse(body.toString()));
    session.movedMs = this.#parts.clock.nowMs();
    if (session.complete) await this.#sendResult(session);
    return session.over;
  }

  /** Our own clock may have stood still meanwhile, or this is one that a predecessor kept, and its client is not back yet. */
  #onLapsed(id: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined) this.#noteEnded(id);
    else if (session.failure === undefined)
      this.#beginAgain(session, `a role had no news of it for ${this.#parts.sessionTimeoutMs / 1000} s`);
  }

  async #sendResult(session: ClientSession): Promise<void> {
    const result = Object.fromEntries(queries.map(({ name, number }) => [name, session.answers.get(number)]));
    await session.send({ kind: 'result' }, Buffer.from(JSON.stringify(result)));
  }

  /** What ended as a dead letter would be missing in the answer: the session ends, and its client hears what it was; where only a queue was gone it begins again. */
  async #onDeadLetter(delivery: Delivery): Promise<void> {
    await this.#parts.broker.append(deadLetterLog, delivery.body).catch((error: unknown) => {
      // The log is gone with the broker's disk: the next start declares it.
      if (error instanceof TopologyError) this.#fail(error);
      throw error;
    });
    const head = headOf(delivery.body);
    const reason = `${describe(head, delivery.body)} could not be processed: ${String(delivery.headers['x-death-reason'])} (in ${String(delivery.headers['x-death-queue'])})`;
    this.#parts.log.error({ reason, headers: delivery.headers }, 'dead letter');
    if (head === undefined || this.#ended.has(head.session)) return;
    // Its client may not be back yet, since this entry point was started: it is told when it comes, by a successor if this one dies before.
    const session = this.#sessions.get(head.session) ?? this.#open(head.session);
    await this.#end(session, reason, diedOfBroker(delivery.headers));
    return session.forgotten;
  }

  /** Ends a session where nobody waits for it. */
  #abort(session: ClientSession, reason: string, again = false): void {
    this.#end(session, reason, again).catch((error: unknown) =>
      this.#parts.log.warn({ session: session.id, err: error }, 'ending a session failed'),
    );
  }

  /** Ends a session everywhere. With a reason it has failed: its client hears why, now or when it comes back. */
  async #end(session: ClientSession, reason?: string, again = false): Promise<void> {
    this.#admission.close(session.id);
    if (reason === undefined) this.#forget(session);
    this.#parts.log.info({ session: session.id, reason }, 'session ended');
    await session.end(reason, again);
    await tellHolders(this.#parts.broker, sessionExchange, 'end', session.id);
  }

  #forget(session: ClientSession): void {
    this.#sessions.delete(session.id);
    this.#noteEnded(session.id);
    session.forget();
  }

  #noteEnded(id: string): void {
    this.#ended.add(id);
    if (this.#ended.size > endedKept) this.#ended.delete(this.#ended.values().next().value!);
  }

  /** A client hears from us whether RabbitMQ answers or not; roles are told again only when they could be told the last time. */
  async #beat(): Promise<void> {
    for (const session of this.#sessions.values()) {
      if (session.connected && session.failure === undefined) this.#keepAlive(session);
    }
    if (this.#beating) return;
    this.#beating = true;
    try {
      await Promise.all([...this.#sessions.values()].map((session) => this.#renewOrEnd(session)));
      await this.#removeSurplusQueue();
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'a beat failed; the next one tries again');
    } finally {
      this.#beating = false;
    }
  }

  /** Roles forget a session that could not be renewed for so long, and what they forgot its client must send again. */
  #keepAlive(session: ClientSession): void {
    const { clock, sessionTimeoutMs } = this.#parts;
    const silentMs = clock.nowMs() - session.renewedMs;
    const underway = this.#admission.underway(session.id);
    const isOurTurn = underway > 0 || session.currentTopic === undefined;
    const mustMove = (isOurTurn && !session.complete) || this.#admission.isWaitedFor(session.id);
    // Who waits for others does not stand still, and begins to count when it is let go on.
    if (!mustMove) session.movedMs = clock.nowMs();
    const stillMs = clock.nowMs() - session.movedMs;
    if (silentMs >= sessionTimeoutMs) this.#beginAgain(session, `RabbitMQ was out of reach for ${sessionTimeoutMs / 1000} s`);
    else if (stillMs >= stillTimeoutsMax * sessionTimeoutMs)
      this.#beginAgain(
        session,
        `nothing moved for ${Math.round(stillMs / 1000)} s: ${this.#missing(session, isOurTurn)} (${underway} of ${session.batches} batches under way)`,
      );
    else {
      const still = stillMs >= sessionTimeoutMs / 2 ? `nothing moves: ${this.#missing(session, isOurTurn)}` : undefined;
      void session.send({ kind: 'alive', waiting: this.#admission.waiting(session.id) ?? still });
    }
  }

  #missing({ id, unanswered }: ClientSession, isOurTurn: boolean): string {
    const answers = isOurTurn ? `no answer of query ${unanswered.join(', ')}` : 'no batch came, and others wait';
    return this.#admission.missing(id) ?? answers;
  }

  #beginAgain(session: ClientSession, reason: string): void {
    this.#abort(session, `${reason}: the session has to begin again`, true);
  }

  /** Refuses a session that roles may have forgotten before they heard of it again. */
  async #renew(session: ClientSession): Promise<void> {
    const { broker, clock, sessionTimeoutMs } = this.#parts;
    await tellHolders(broker, sessionExchange, 'renew', session.id);
    if (clock.nowMs() - session.renewedMs >= sessionTimeoutMs)
      throw new RefusedError(`the session could not be renewed for ${sessionTimeoutMs / 1000} s: it has to begin again`, true);
    session.renewedMs = clock.nowMs();
  }

  async #renewOrEnd(session: ClientSession): Promise<void> {
    if (session.connected) {
      if (session.failure !== undefined) return;
      await this.#renew(session).catch((error: unknown) => {
        if (!(error instanceof RefusedError)) throw error;
        this.#abort(session, error.message, error.again);
      });
    } else if (this.#parts.clock.nowMs() - session.absentSinceMs >= this.#parts.sessionTimeoutMs) {
      this.#forget(session);
      if (session.failure === undefined) await this.#end(session);
    }
  }
}

function headOf(bytes: Buffer) {
  try {
    return decode(bytes, 'rows', 'end', 'passed', 'partial', 'answer', 'lapsed').head;
  } catch {
    return undefined;
  }
}

/** Names a message for its client's user. */
function describe(head: ReturnType<typeof headOf>, bytes: Buffer): string {
  if (head === undefined) return `a message of ${bytes.byteLength} bytes that is none of ours`;
  if (head.kind === 'rows') return `batch ${head.number} of ${head.topic} (${head.city}, ${head.rows} rows)`;
  if (head.kind === 'end') return `the end of ${head.topic}`;
  if (head.kind === 'lapsed') return 'the word that the session has lapsed';
  if (head.kind === 'passed') return `the report of batch ${head.number} of ${head.topic}`;
  return `${head.kind} of query ${head.query}`;
}
