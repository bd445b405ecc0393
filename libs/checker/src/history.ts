/** What clients did and saw. Times order it: one operation comes before another if its answer came before the other's call. */

/** What was asked for: the operation's name, and its arguments. It can be written as JSON. */
export interface Invocation {
  readonly op: string;
}

/** One operation of a client, and what the client knows of it. */
export interface Operation<Input extends Invocation, Output> {
  readonly client: string;
  readonly input: Input;
  readonly calledMs: number;
  /** Absent if none came: it happened once at any time after the call, or never. The output can be written as JSON. */
  readonly answer?: { readonly output: Output; readonly ms: number };
}

/** An operation that was begun. It ends once; a second end throws. */
export interface Call<Output> {
  /** It happened, and this came back. */
  ok(output: Output): void;
  /** It surely did not happen: the history forgets it. */
  failed(): void;
  /** Nobody knows whether it happened, or whether it will: a timeout, a lost connection. So it is also with what is never ended. */
  unknown(): void;
}

/** What a clock's step at least is: it may stand still, but what one process sees has an order. */
const tickMs = 0.001;

/** Records what the clients in this process do, in the order in which it sees them begin and end. */
export class History<Input extends Invocation, Output> {
  readonly #clock: { nowMs(): number };
  readonly #operations = new Set<Operation<Input, Output>>();
  #lastMs = -Infinity;

  /** Times are milliseconds on this clock; each is later than the one before by at least a microsecond. */
  constructor(clock: { nowMs(): number }) {
    this.#clock = clock;
  }

  /** In the order of their calls, without those that failed. */
  get operations(): Operation<Input, Output>[] {
    return [...this.#operations];
  }

  /** A client, by the name that a failure shows, is about to call. */
  begin(client: string, input: Input): Call<Output> {
    const operation: { -readonly [Key in keyof Operation<Input, Output>]: Operation<Input, Output>[Key] } = {
      ...{ client, input, calledMs: this.#nextMs() },
    };
    this.#operations.add(operation);
    let isOver = false;
    const end = (): void => {
      if (isOver) throw new Error(`${client}'s ${input.op} has ended before`);
      isOver = true;
    };
    return {
      ok: (output) => {
        end();
        operation.answer = { output, ms: this.#nextMs() };
      },
      failed: () => {
        end();
        this.#operations.delete(operation);
      },
      unknown: end,
    };
  }

  /** Records one operation: its call, the work, and the end that follows from how the work settles. Resolves or rejects as the work does. */
  async record<Result extends Output>(
    client: string,
    input: Input,
    work: () => Promise<Result>,
    /** Whether this error says that it surely did not happen. */
    hasFailed: (error: unknown) => boolean,
  ): Promise<Result> {
    const call = this.begin(client, input);
    try {
      const output = await work();
      call.ok(output);
      return output;
    } catch (error) {
      if (hasFailed(error)) call.failed();
      else call.unknown();
      throw error;
    }
  }

  #nextMs(): number {
    this.#lastMs = Math.max(this.#clock.nowMs(), this.#lastMs + tickMs);
    return this.#lastMs;
  }
}

/** A line of JSON for each operation. Lines from processes that share a clock may be put together. */
export function encodeHistory<Input extends Invocation, Output>(operations: readonly Operation<Input, Output>[]): string {
  return operations.map((operation) => `${JSON.stringify(operation)}\n`).join('');
}

/** Throws a `SyntaxError` that names the line which is no operation. What inputs and outputs are is for the caller to know. */
export function decodeHistory<Input extends Invocation, Output>(text: string): Operation<Input, Output>[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line, index) => {
    try {
      const value: unknown = JSON.parse(line);
      if (isOperation(value)) return value as Operation<Input, Output>;
    } catch {
      // It says below which line that is.
    }
    throw new SyntaxError(`line ${index + 1} of the history is no operation: ${line.slice(0, 100)}`);
  });
}

function isOperation(value: unknown): value is Operation<Invocation, unknown> {
  const { client, input, calledMs, answer } = (value ?? {}) as Partial<Operation<Invocation, unknown>>;
  return (
    typeof client === 'string' &&
    typeof input?.op === 'string' &&
    typeof calledMs === 'number' &&
    (answer === undefined || (typeof answer?.ms === 'number' && answer.ms >= calledMs))
  );
}
