/**
 * The world of one run: simulated time, and processes that live in it. A process is code that is given a `Life`: its clock, and the way in which it calls others. Whatever it does passes through that life, where faults
 * strike: so it can die between any two things that it does, stand still, or hear late of what it has done.
 *
 * Nothing here waits for real time. A turn of the event loop in which something happened is a millisecond; where nothing happens, time jumps to the next timer.
 */
import { silentLogger, sleep, type Clock, type Logger } from '@lab/process';
import { FakeClock, type Random } from '@lab/testing';
import type { SimulationEvent, UntimedEvent } from './events.ts';
import { atOf, type FaultPlan, type KindName } from './faults.ts';

/** A promise of the system does not hold. The promise in the words of its DESIGN.md: two failures with one promise are the same failure. */
export class PromiseBroken extends Error {
  readonly promise: string;
  readonly detail: string;
  constructor(promise: string, detail: string) {
    super(`${promise}: ${detail}`);
    this.name = new.target.name;
    this.promise = promise;
    this.detail = detail;
  }
}

export interface WorldOptions {
  plan: FaultPlan;
  /** All chance of a run that is no fault: ids, choices of clients. */
  random: Random;
  /** Faults strike in so much of the run. */
  faultsForMs: number;
  /** So much later than the last fault and its repair everything must be done. */
  settleMs: number;
  /** What must be done by then, as a promise. */
  liveness: string;
  /** Whether events are kept. Without it runs are faster. */
  recording?: boolean;
}

/** Turns without any event after which nothing more will come of itself: what is passed on takes a few, through streams and promises. */
const idleTurns = 4;
const probeMs = 50;
/** A supervisor starts what has ended again. */
const restartMs = 1_000;

export class World {
  readonly clock = new FakeClock();
  readonly random: Random;
  readonly log: Logger = silentLogger;
  readonly events: SimulationEvent[] = [];
  readonly #options: WorldOptions;
  readonly #lives = new Map<string, Life>();
  /** The last fault is repaired. */
  #healedMs = 0;
  /** The app began to wait for something. */
  #waitsFromMs = 0;
  #isActive = false;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = options.random;
  }

  get recording(): boolean {
    return this.#options.recording === true;
  }

  /** A process that runs, and runs again whenever it has died or has failed. */
  start(name: string, run: (life: Life) => Promise<unknown>): void {
    const life = new Life(this, name, (this.#lives.get(name)?.number ?? 0) + 1);
    this.#lives.set(name, life);
    this.emit(() => ({ type: 'start', role: name, life: life.number }));
    life.onEnd((backMs) => void this.clock.after(backMs, () => this.start(name, run)));
    run(life).catch((error: unknown) => life.fail(error));
  }

  /** The run is over: nobody does anything any more. */
  end(): void {
    for (const life of this.#lives.values()) life.die(0);
  }

  /** The process as it lives now. */
  life(name: string): Life | undefined {
    return this.#lives.get(name);
  }

  /**
   * Lets time pass until the work is done. A world in which it is not done although all faults are over and repaired breaks its promise of liveness; so does one in which nothing
   * can happen any more.
   */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const end = (): void => void (isDone = true);
    work.then(end, end);
    for (let idle = 0; ;) {
      await turn();
      if (isDone) return work;
      this.#checkLiveness();
      idle = this.#isActive ? 0 : idle + 1;
      this.#isActive = false;
      if (idle === 0) this.clock.advance(1);
      else if (idle > idleTurns) this.#jump();
    }
  }

  /** Also of those who are busy for ever. */
  #checkLiveness(): void {
    const { liveness, settleMs, faultsForMs } = this.#options;
    const nowMs = this.clock.nowMs();
    if (nowMs > Math.max(this.#healedMs, this.#waitsFromMs, Math.min(nowMs, faultsForMs)) + settleMs)
      throw new PromiseBroken(liveness, `not so ${settleMs} ms after the last fault and its repair`);
  }

  #jump(): void {
    const [nowMs, nextMs] = [this.clock.nowMs(), this.clock.nextMs()];
    if (nextMs === undefined) throw new PromiseBroken(this.#options.liveness, `at ${nowMs} ms nothing is left that could happen`);
    this.clock.advance(nextMs - nowMs);
    this.#isActive = true;
  }

  /** Resolves when faults are over and the last of them is repaired. */
  async healed(): Promise<void> {
    const leftMs = (): number => Math.max(this.#healedMs, this.#options.faultsForMs) - this.clock.nowMs();
    while (leftMs() > 0) await sleep(this.clock, leftMs());
  }

  /** Resolves when it is so; that it is not within `settleMs` of now or of the last repair breaks the promise of liveness. */
  async when(probe: () => boolean): Promise<void> {
    this.#waitsFromMs = this.clock.nowMs();
    while (!probe()) await sleep(this.clock, probeMs);
  }

  /** Something happens: time does not jump over what follows from it. */
  touch(): void {
    this.#isActive = true;
  }

  emit(event: () => UntimedEvent): void {
    this.#isActive = true;
    if (this.recording) this.events.push({ ms: this.clock.nowMs(), ...event() });
  }

  /** The argument of a fault of this kind, if one strikes at this place. */
  strikes(kind: KindName, place: string, life: Life, message: string, share: number): number | undefined {
    const nowMs = this.clock.nowMs();
    if (nowMs > this.#options.faultsForMs) return undefined;
    const arg = this.#options.plan.strikes(kind, place, share);
    if (arg === undefined) return undefined;
    this.#healedMs = Math.max(this.#healedMs, nowMs + arg);
    this.emit(() => ({ type: 'fault', role: life.name, life: life.number, key: `${place} ${kind}`, arg, message }));
    return arg;
  }
}

/** A machine's time of day, in ms since 1970. Unlike the clock of a process it may go back. */
export class TimeOfDay {
  readonly #clock: Clock;
  readonly #beginMs: number;
  #aheadMs = 0;
  #stoodAtMs: number | undefined;
  /** How far ahead it is for each pace that it has now. */
  readonly #paced = new Set<() => number>();

  constructor(clock: Clock, beginMs: number) {
    this.#clock = clock;
    this.#beginMs = beginMs;
  }

  nowMs(): number {
    const paced = [...this.#paced].reduce((sum, aheadMs) => sum + aheadMs(), 0);
    return this.#stoodAtMs ?? Math.floor(this.#beginMs + this.#clock.nowMs() + this.#aheadMs + paced);
  }

  /** It is so much ahead for so long. */
  jump(byMs: number, forMs: number): void {
    this.#aheadMs += byMs;
    this.#clock.after(forMs, () => void (this.#aheadMs -= byMs));
  }

  /** It runs so many times as fast for so long, and is right again then. */
  run(pace: number, forMs: number): void {
    const fromMs = this.#clock.nowMs();
    const aheadMs = (): number => (this.#clock.nowMs() - fromMs) * (pace - 1);
    this.#paced.add(aheadMs);
    this.#clock.after(forMs, () => this.#paced.delete(aheadMs));
  }

  stand(forMs: number): void {
    this.#stoodAtMs ??= this.nowMs();
    this.#clock.after(forMs, () => void (this.#stoodAtMs = undefined));
  }

  /** In each second of this life a fault of `timeKinds` may strike. A jump goes so many times as far as it is long. */
  strikeWith(life: Life, jumpFactor: number): void {
    life.clock.every(1_000, () => {
      const place = life.place('tick', 'clock');
      const strike = (kind: KindName, act: (forMs: number) => void): void => {
        const forMs = life.strikes(kind, place);
        if (forMs !== undefined) act(forMs);
      };
      strike('clock jumps', (forMs) => this.jump(jumpFactor * forMs, forMs));
      strike('clock stands', (forMs) => this.stand(forMs));
      strike('clock races', (forMs) => this.run(1.5, forMs));
      strike('clock lags', (forMs) => this.run(0.7, forMs));
    });
  }
}

/** Of what does not come back to who is dead. */
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

/** One life of a process. */
export class Life {
  readonly name: string;
  /** 1 for the first. */
  readonly number: number;
  /** The process's own: it has its own pace, does not tick for who is dead, and ticks late for who stands still. */
  readonly clock: Clock;
  readonly random: Random;
  readonly #world: World;
  readonly #counts = new Map<string, number>();
  readonly #onEnd: ((backMs: number) => void)[] = [];
  readonly #onPause: ((forMs: number) => void)[] = [];
  #isDead = false;
  #paused: PromiseWithResolvers<void> | undefined;
  #pausedUntilMs = 0;
  /** Timers that fell due while it stood still. */
  #missed: (() => void)[] = [];
  /** For how long its own clock has stood still, and since when it does. */
  #sleptMs = 0;
  #asleepSinceMs: number | undefined;

  constructor(world: World, name: string, number: number) {
    this.#world = world;
    this.name = name;
    this.number = number;
    this.random = world.random.fork(`${name}.${number}`);
    const { clock } = world;
    const place = this.place('clock', 'own');
    const pace = 1 + ((this.strikes('runs fast', place) ?? 0) - (this.strikes('runs slow', place) ?? 0)) / 1_000;
    const jitter = this.random.fork('jitter');
    this.clock = {
      random: () => jitter.next(),
      nowMs: () => ((this.#asleepSinceMs ?? clock.nowMs()) - this.#sleptMs) * pace,
      after: (delayMs, run) => {
        const dueMs = this.clock.nowMs() + delayMs;
        let stop = (): void => {};
        // Where its clock stood still meanwhile, it is not time yet.
        const ring = (): void => {
          const restMs = dueMs - this.clock.nowMs();
          if (restMs > 1e-3) stop = clock.after(restMs / pace, () => this.#whenAwake(ring));
          else run();
        };
        stop = clock.after(delayMs / pace, () => this.#whenAwake(ring));
        return () => stop();
      },
      every: (intervalMs, run) => {
        const stop = clock.every(intervalMs / pace, () => {
          if (this.#asleepSinceMs === undefined) this.#whenAwake(run);
        });
        // Those of the dead would keep time from jumping.
        this.onEnd(stop);
        return stop;
      },
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Called once, when this life ends, with when the next one begins. */
  onEnd(run: (backMs: number) => void): void {
    this.#onEnd.push(run);
  }

  /** Called whenever it stands still, with for how long. */
  onPause(run: (forMs: number) => void): void {
    this.#onPause.push(run);
  }

  /** Killed: nothing that it still does has an effect. */
  die(backMs: number): void {
    this.#end('killed', backMs);
  }

  /** It ends by itself, as a program with an error does; its supervisor starts it again. */
  fail(error: unknown): void {
    this.#end(error instanceof Error ? `${error.name}: ${error.message}` : String(error), restartMs);
  }

  #end(reason: string, backMs: number): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#world.emit(() => ({ type: 'end', role: this.name, life: this.number, reason }));
    for (const run of this.#onEnd) run(backMs);
  }

  /** Stands still for so long, from now on. */
  pause(forMs: number): void {
    if (this.#isDead) return;
    const { clock } = this.#world;
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, clock.nowMs() + forMs);
    this.#paused ??= Promise.withResolvers();
    clock.after(forMs, () => this.#thaw());
    for (const run of this.#onPause) run(forMs);
  }

  /** Stands still for so long, and its own clock with it. */
  fallAsleep(forMs: number): void {
    if (this.#isDead) return;
    this.#asleepSinceMs ??= this.#world.clock.nowMs();
    this.pause(forMs);
  }

  #thaw(): void {
    if (this.#paused === undefined || this.#world.clock.nowMs() < this.#pausedUntilMs) return;
    const { resolve } = this.#paused;
    this.#paused = undefined;
    if (this.#asleepSinceMs !== undefined) this.#sleptMs += this.#world.clock.nowMs() - this.#asleepSinceMs;
    this.#asleepSinceMs = undefined;
    if (this.#isDead) return;
    this.#world.touch();
    for (const run of this.#missed.splice(0)) this.#whenAwake(run);
    resolve();
  }

  get isPaused(): boolean {
    return this.#paused !== undefined;
  }

  /** Resolves when the process runs: at once, when it thaws, or never. */
  async awake(): Promise<void> {
    while (this.#paused !== undefined) await this.#paused.promise;
    if (this.#isDead) await never();
  }

  #whenAwake(run: () => void): void {
    if (this.#isDead) return;
    if (this.#paused !== undefined) return void this.#missed.push(run);
    this.#world.touch();
    run();
  }

  /** Names what happens now, for good: the n-th of its kind in this life. */
  place(operation: string, subject: string): string {
    const what = `${operation} ${subject}`;
    const count = (this.#counts.get(what) ?? 0) + 1;
    this.#counts.set(what, count);
    return `${this.name}.${this.number} ${operation} #${count} ${subject}`;
  }

  /** The argument of the fault, if it strikes here; of places that are very many each has a `share` of the kind's chance. */
  strikes(kind: KindName, place: string, message = '', share = 1): number | undefined {
    return this.#isDead ? undefined : this.#world.strikes(kind, place, this, message, share);
  }

  /** What an app wants to be seen in the story. */
  note(text: string): void {
    this.#world.emit(() => ({ type: 'note', role: this.name, life: this.number, text }));
  }

  /**
   * The process calls somebody. `effect` is what the call does, out there: it happens once, or not at all, now or later; and the process hears of it, or does not. `message` says what is
   * sent, for the story. With `copy`, which is what a second one does that nobody waits for, it may be sent twice, or land again much later. `share` as for `strikes`.
   */
  async call<T>(
    operation: string,
    subject: string,
    message: () => string,
    effect: (place: string) => Promise<T>,
    copy?: () => Promise<unknown>,
    share = 1,
  ): Promise<T> {
    if (this.#isDead) return never();
    const world = this.#world;
    const place = this.place(operation, subject);
    const text = world.recording ? message() : '';
    const strikes = (kind: KindName): number | undefined => this.strikes(kind, place, text, share);
    const landsMs = copy && strikes('lands late');
    if (landsMs !== undefined) world.clock.after(landsMs, () => (world.touch(), void copy!().catch(() => undefined)));
    const deathMs = strikes('dies before');
    if (deathMs !== undefined) this.die(deathMs);
    const meanwhileMs = strikes('dies meanwhile');
    if (meanwhileMs !== undefined) {
      await sleep(world.clock, meanwhileMs);
      this.die(restartMs);
    }
    const lateMs = strikes('late');
    if (lateMs !== undefined) await sleep(world.clock, lateMs);
    if (this.#isDead) return never();
    const again = copy !== undefined && strikes('twice') !== undefined;
    let result: T;
    try {
      if (again) await effect(place);
      result = await effect(place);
    } catch (error) {
      // Who died meanwhile does not hear of it.
      if (this.#isDead) return await never();
      throw error;
    }
    const { name: role, number: life } = this;
    world.emit(() => ({ type: 'call', role, life, call: operation, to: subject, message: text, at: atOf(place) }));
    const endMs = strikes('dies after');
    if (endMs !== undefined) this.die(endMs);
    const pauseMs = strikes('pauses') ?? strikes('hangs');
    if (pauseMs !== undefined) this.pause(pauseMs);
    const sleepMs = strikes('sleeps');
    if (sleepMs !== undefined) this.fallAsleep(sleepMs);
    const answerMs = strikes('answered late');
    if (answerMs !== undefined) await sleep(world.clock, answerMs);
    if (this.#paused !== undefined || this.#isDead) await this.awake();
    world.touch();
    return result;
  }
}

/** What was set in motion in the last turn has happened after it. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
