/** The roles of a demo, all in one process: each can be ended and begun again while the others go on. */
import type { Role } from './role.ts';

/** One life of a role. */
export interface Life {
  readonly role: Role;
  /** It takes work: where it is, is known. */
  started?(this: void): void;
  /** Nothing counts that it still does, as if its process had died; resolves when its ports are free. Without it, it ends in good order. */
  kill?(this: void): Promise<void> | void;
  /** Closes what the role was given, after its end. */
  close?(this: void): Promise<void>;
}

/** How a role is ended and begun again; one call at a time. */
export interface Plug {
  /** It dies as its process would: nothing that it still does counts. */
  kill?(this: void): void | Promise<void>;
  /** It ends in good order. */
  stop?(this: void): void | Promise<void>;
  /** Resolves when a new life of it takes work; what it rejects with may be tried again. */
  start(this: void): void | Promise<void>;
}

interface Page {
  breakable(this: void, role: string, plug: Plug): void;
}

export class Lives {
  readonly #alive = new Map<string, Life>();
  readonly #page: Page | undefined;
  #isOver = false;

  /** On this page a button ends each of them. */
  constructor(page?: Page) {
    this.#page = page;
  }

  get count(): number {
    return this.#alive.size;
  }

  /** Starts the role, whose lives are made so; resolves when it takes work. */
  async begin(name: string, make: () => Life): Promise<void> {
    let verb: 'kill' | 'stop' = 'stop';
    const start = async (): Promise<void> => {
      this.#throwIfOver(name);
      const life = make();
      if (life.kill !== undefined) verb = 'kill';
      try {
        await life.role.start();
        this.#throwIfOver(name);
      } catch (error) {
        await ended(life).catch(() => undefined);
        throw error;
      }
      this.#alive.set(name, life);
      life.started?.();
      // Of the dead it is no wonder.
      life.role.failed?.catch((error: unknown) => {
        if (this.#alive.get(name) === life) console.error(`${name} has failed:`, error);
      });
    };
    await start();
    this.#page?.breakable(name, { [verb]: () => this.end(name), start });
  }

  /** Kills it where that can be done, and stops it otherwise. */
  async end(name: string): Promise<void> {
    const life = this.#alive.get(name)!;
    this.#alive.delete(name);
    await (life.kill === undefined ? ended(life) : life.kill());
  }

  /** Stops all, the youngest first; nobody begins anymore. */
  async stop(): Promise<void> {
    this.#isOver = true;
    const lives = [...this.#alive.values()].reverse();
    this.#alive.clear();
    for (const life of lives) await ended(life);
  }

  #throwIfOver(name: string): void {
    if (this.#isOver) throw new Error(`${name} begins no more: all are stopped`);
  }
}

async function ended({ role, close }: Life): Promise<void> {
  try {
    await role.stop();
  } finally {
    await close?.();
  }
}
