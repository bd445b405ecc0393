/** Faults by the buttons of a demo's page: roles that the demo itself can break, and that come back. */
import type { Clock } from '@lab/process';
import type { Plug } from '@lab/process/lives';
import type { Breaking } from './live.ts';

const verbs = {
  kill: { words: 'A', summary: 'as if its process died; it is started again after half a minute' },
  stop: { words: 'A', summary: 'in good order; it is started again after half a minute' },
  start: { words: 'A', summary: 'starts what was killed or stopped, now' },
} as const;
type Verb = keyof typeof verbs;

const did = { kill: 'killed', stop: 'stopped', start: 'started' } as const;
export type Did = (typeof did)[Verb];

/** Less than anybody of a demo waits: for a client, a session, a lease. */
const faultMs = 30_000;

interface Socket {
  readonly plug: Plug;
  isDead: boolean;
  /** Of whom a button has broken: that it is started later. */
  cancel: (() => void) | undefined;
  /** What is being done to it. */
  change: Promise<void> | undefined;
}

export class Plugs {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #tell: (role: string, did: Did) => void;
  readonly #sockets = new Map<string, Socket>();
  #isOver = false;

  /** Calls `tell` with what has been done to a role. */
  constructor(clock: Pick<Clock, 'after'>, tell: (role: string, did: Did) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** From now on the role can be broken. It is alive. */
  add(role: string, plug: Plug): void {
    this.#sockets.set(role, { plug, isDead: false, cancel: undefined, change: undefined });
  }

  /** As a page is told them. */
  get breaking(): Pick<Breaking, 'command' | 'verbs' | 'roles'> {
    const verbsOf = ({ plug }: Socket): string[] => Object.keys(verbs).filter((verb) => verb in plug);
    const roles = [...this.#sockets].map(([role, socket]) => [role, verbsOf(socket)] as const);
    return { command: "the demo's own", verbs, roles: Object.fromEntries(roles) };
  }

  /** The demo itself has killed it; who has died already does not die again. */
  died(role: string): void {
    const socket = this.#sockets.get(role);
    if (socket?.isDead === true) return;
    if (socket !== undefined) socket.isDead = true;
    this.#tell(role, 'killed');
  }

  /** Does what a button says, and resolves with what came of it: `kill counter-1`, or `heal`, which starts all that are dead. */
  async strike([verb = '', role = '']: readonly string[]): Promise<string> {
    if (this.#isOver) throw new Error('the demo checks its answer: nothing is broken any more');
    if (verb === 'heal') return (await this.#startAll(() => true)) > 0 ? 'all are started' : 'nobody is dead';
    const socket = this.#sockets.get(role);
    if (socket === undefined) throw new Error(`the demo cannot break "${role}"; it can ${[...this.#sockets.keys()].join(', ')}`);
    if (!Object.hasOwn(verbs, verb) || !(verb in socket.plug)) throw new Error(`the demo cannot ${verb} ${role}`);
    if (socket.change !== undefined) throw new Error(`something is done to ${role} already`);
    if (socket.isDead !== (verb === 'start')) throw new Error(`${role} is ${socket.isDead ? 'dead' : 'alive'} already`);
    await this.#change(role, socket, verb as Verb);
    return `${role} ${did[verb as Verb]}${verb === 'start' ? '' : `; started again in ${faultMs / 1_000} s`}`;
  }

  #change(role: string, socket: Socket, verb: Verb): Promise<void> {
    const { plug } = socket;
    const change = async (): Promise<void> => {
      try {
        await plug[verb]!();
        socket.isDead = verb !== 'start';
        this.#tell(role, did[verb]);
      } finally {
        socket.change = undefined;
        // What fails is tried again.
        const start = (): void => void this.#change(role, socket, 'start').catch(() => undefined);
        if (socket.isDead) socket.cancel = this.#clock.after(faultMs, start);
      }
    };
    this.#comesBackNoMore(socket);
    return (socket.change = change());
  }

  #comesBackNoMore(socket: Socket): Socket {
    socket.cancel?.();
    socket.cancel = undefined;
    return socket;
  }

  /** Starts these, if they are dead; returns how many were. */
  async #startAll(whom: (socket: Socket) => boolean): Promise<number> {
    const begun = [...this.#sockets].map(async ([role, socket]) => {
      await socket.change?.catch(() => undefined);
      if (!socket.isDead || !whom(socket)) return 0;
      await this.#change(role, socket, 'start');
      return 1;
    });
    return (await Promise.all(begun)).reduce<number>((sum, each) => sum + each, 0);
  }

  /** Resolves when all whom a button has broken are there again; nobody is broken any more. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#startAll(({ cancel }) => cancel !== undefined);
  }

  /** Nobody is broken or started any more. */
  close(): void {
    this.#isOver = true;
    for (const socket of this.#sockets.values()) this.#comesBackNoMore(socket);
  }
}
