/** What `member-process.ts` is told and tells, and its other end. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface MemberSettings {
  readonly rabbitmq: string;
  readonly zookeeper: string;
  readonly groupName: string;
  readonly name: string;
  readonly sessionTimeoutMs: number;
  /** Says nothing of its own. */
  readonly isSilent: boolean;
}

export type MemberEvent =
  | {
      readonly type: 'view';
      readonly id: string;
      readonly cause: string;
      readonly members: readonly string[];
      readonly self: string | undefined;
    }
  | { readonly type: 'restored'; readonly lines: readonly string[] }
  | { readonly type: 'applied' | 'submitted' | 'resolved' | 'fenced' | 'indefinite'; readonly line: string }
  | { readonly type: 'writes views'; readonly epoch: number }
  | { readonly type: 'rests' };

export type MemberView = Extract<MemberEvent, { type: 'view' }>;

/** A member in a process of its own, as its parent sees it. */
export class MemberProcess {
  readonly settings: MemberSettings;
  readonly #child: ChildProcess;
  view: MemberView | undefined;
  /** Its journal. */
  lines: string[] = [];
  readonly submitted: string[] = [];
  readonly resolved: string[] = [];
  readonly fenced: string[] = [];
  readonly indefinite: string[] = [];
  /** The epoch in which it was elected last to write the views. */
  writerEpoch = 0;
  rests = false;

  /** `onEvent` is called after each event. */
  constructor(settings: MemberSettings, onEvent: (event: MemberEvent, process: MemberProcess) => void) {
    this.settings = settings;
    const program = join(import.meta.dirname, 'member-process.ts');
    this.#child = spawn(process.execPath, [program, JSON.stringify(settings)], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface(this.#child.stdout!).on('line', (line) => {
      const event = JSON.parse(line) as MemberEvent;
      this.#take(event);
      onEvent(event, this);
    });
  }

  get self(): string | undefined {
    return this.view?.self;
  }
  /** Submitted, and not settled. */
  get inFlight(): number {
    return this.submitted.length - this.resolved.length - this.fenced.length - this.indefinite.length;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  /** SIGKILL; resolves when it is dead and all that it said has been read. */
  async kill(): Promise<void> {
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await closed;
  }

  /** No more of its own; it `rests` when all has settled. */
  rest(): void {
    this.#child.stdin!.write('rest\n');
  }

  /** Has it leave; resolves with its exit code. */
  async end(): Promise<number> {
    const closed = once(this.#child, 'close') as Promise<[number]>;
    this.#child.stdin!.end();
    return (await closed)[0];
  }

  #take(event: MemberEvent): void {
    switch (event.type) {
      case 'view':
        this.view = event;
        return;
      case 'restored':
        this.lines = [...event.lines];
        return;
      case 'applied':
        return void this.lines.push(event.line);
      case 'writes views':
        this.writerEpoch = event.epoch;
        return;
      case 'rests':
        this.rests = true;
        return;
      case 'submitted':
      case 'resolved':
      case 'fenced':
      case 'indefinite':
        this[event.type].push(event.line);
    }
  }
}
