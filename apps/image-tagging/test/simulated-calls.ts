/**
 * gRPC between processes of a simulated world, without its wire. A call ends for both of its ends when one of them dies, hangs for longer than keepalive allows, or the connection is lost; whatever was on its way
 * then is lost, too.
 */
import { status } from '@grpc/grpc-js';
import { inTime, silentLogger, sleep } from '@lab/process';
import type { Life, World } from '@lab/simulation';
import { unavailable } from '../src/client/outcome.ts';
import { errorOf } from '../src/grpc/serve.ts';

/** As `channelOptions` has it: after so long a peer that hangs is taken for dead. */
const keepaliveMs = 8_000;
/** For a connection, and for all of a call. */
const connectMs = 3_000;
const callMs = 65_000;

/** What a process serves, as long as it lives. */
interface Door<Role> {
  readonly life: Life;
  readonly role: Role;
}

/** Processes that serve, by address. */
export class SimulatedCalls<Role> {
  readonly #world: World;
  readonly #doors = new Map<string, Door<Role>>();
  /** Told what a call has failed with, whether its client hears of it or not. */
  readonly #onError: (error: unknown) => void;

  constructor(world: World, onError: (error: unknown) => void) {
    this.#world = world;
    this.#onError = onError;
  }

  listen(address: string, life: Life, role: Role): void {
    const door = { life, role };
    this.#doors.set(address, door);
    life.onEnd(() => {
      if (this.#doors.get(address) === door) this.#doors.delete(address);
    });
  }

  /** A call with one answer. */
  async ask<Answer>(client: Life, address: string, text: string, run: (role: Role) => Answer | Promise<Answer>): Promise<Answer> {
    return this.stream(
      client,
      { address, text },
      async function* (role) {
        yield await run(role);
      },
      async ({ answers }) => {
        for await (const answer of answers) return answer;
        throw unavailable('the call ended without an answer');
      },
    );
  }

  /** A call with parts and answers. `use` is the client's side of it; when that is done the call is given up. `onAnswer` is told of answers that are on their way, whether they arrive or not. */
  async stream<Part, Answer, Result>(
    client: Life,
    { address, text, onAnswer = () => {} }: { address: string; text: string; onAnswer?: (answer: Answer) => void },
    serve: (role: Role, parts: AsyncIterable<Part>) => AsyncIterable<Answer>,
    use: (call: ClientCall<Part, Answer>) => Promise<Result>,
  ): Promise<Result> {
    const door = await client.call(
      'connect',
      address,
      () => text,
      () => this.#connect(client, address),
    );
    const call = new Call<Part, Answer>(this.#world, client, door.life, text);
    void this.#answer(call, serve(door.role, call.parts()), onAnswer);
    try {
      return await inTime(client.clock, callMs, use(call), () => unavailable('nothing has come for too long'));
    } finally {
      call.cut('its client has ended the call');
    }
  }

  async #connect(client: Life, address: string): Promise<Door<Role>> {
    const door = this.#doors.get(address);
    const refused = unavailable(`${address} takes no connection`);
    if (door === undefined) throw refused;
    if (door.life.isPaused) await inTime(client.clock, connectMs, door.life.awake(), () => refused);
    return door;
  }

  async #answer<Part, Answer>(
    call: Call<Part, Answer>,
    answers: AsyncIterable<Answer>,
    onAnswer: (answer: Answer) => void,
  ): Promise<void> {
    try {
      for await (const each of answers) {
        await call.answer(each, onAnswer);
        if (call.isOver) return;
      }
      call.end();
    } catch (error) {
      if (error === call.error) return;
      this.#onError(error);
      const { code, details } = errorOf(error, silentLogger);
      call.cut(details!, code);
    }
  }
}

export interface ClientCall<Part, Answer> {
  readonly answers: AsyncIterable<Answer>;
  send(part: Part, text: string): Promise<void>;
  /** No more parts come. */
  sent(): void;
}

class Call<Part, Answer> implements ClientCall<Part, Answer> {
  readonly #world: World;
  readonly #client: Life;
  readonly #server: Life;
  readonly #text: string;
  readonly #parts: Pipe<Part>;
  readonly #answers: Pipe<Answer>;
  isOver = false;
  /** With which it was cut. */
  error: Error | undefined;

  constructor(world: World, client: Life, server: Life, text: string) {
    this.#world = world;
    this.#client = client;
    this.#server = server;
    this.#text = text;
    this.#parts = new Pipe(world);
    this.#answers = new Pipe(world);
    for (const life of [client, server]) {
      const isGone = (): void => this.cut(`${life.name} is gone`);
      if (life.isDead) isGone();
      else life.onEnd(isGone);
      life.onPause((forMs) => {
        if (forMs > keepaliveMs) world.clock.after(keepaliveMs, () => this.cut(`${life.name} hangs`));
      });
    }
  }

  parts(): AsyncIterable<Part> {
    return this.#parts.read(this.#server);
  }

  get answers(): AsyncIterable<Answer> {
    return this.#answers.read(this.#client);
  }

  send(part: Part, text: string): Promise<void> {
    return this.#pass(this.#client, this.#server, 'send', `${text} of ${this.#text}`, () => this.#parts.push(part));
  }

  sent(): void {
    this.#parts.end();
  }

  answer(answer: Answer, onAnswer: (answer: Answer) => void): Promise<void> {
    return this.#pass(this.#server, this.#client, 'answer', this.#text, () => {
      onAnswer(answer);
      this.#answers.push(answer);
    });
  }

  #pass(from: Life, to: Life, operation: string, text: string, push: () => void): Promise<void> {
    return from.call(
      operation,
      to.name,
      () => text,
      async (place) => {
        const lostMs = from.strikes('connection lost', place, text);
        if (lostMs !== undefined) {
          this.cut('the connection is lost');
          await sleep(from.clock, lostMs);
        }
        if (!this.isOver) push();
      },
    );
  }

  /** All parts have been answered. */
  end(): void {
    this.isOver = true;
    this.#answers.end();
  }

  /** Over for both ends. */
  cut(reason: string, code: status = status.UNAVAILABLE): void {
    if (this.isOver) return;
    this.isOver = true;
    const error = Object.assign(new Error(reason), { code, details: reason });
    this.error = error;
    this.#parts.end(error);
    this.#answers.end(error);
    this.#world.touch();
  }
}

/** What is on its way from one process to another. */
class Pipe<T> {
  readonly #world: World;
  #items: T[] = [];
  #isEnded = false;
  #error: Error | undefined;
  #wake = (): void => {};

  constructor(world: World) {
    this.#world = world;
  }

  push(item: T): void {
    this.#items.push(item);
    this.#tell();
  }

  /** With an error, what has not come yet is lost. */
  end(error?: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    this.#tell();
  }

  #tell(): void {
    this.#world.touch();
    this.#wake();
  }

  async *read(life: Life): AsyncGenerator<T> {
    for (;;) {
      await life.awake();
      if (this.#error !== undefined) throw this.#error;
      if (this.#items.length > 0) yield this.#items.shift()!;
      else if (this.#isEnded) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
