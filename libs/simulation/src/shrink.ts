/**
 * The shortest list of faults that still breaks the same promise: delta debugging (Zeller and Hildebrandt, 2002), where what really struck is the next list. A fault
 * has its repair with it, so that a death and its restart, a cut and its healing, stay together. Where no fault can be left out of the list as it is, one of two may do. Then arguments and
 * the workload go towards their least.
 */
import { kindOf, kinds, type Fault } from './faults.ts';
import { runScenario, type Outcome, type Scenario, type SimulatedSystem, type Workload } from './system.ts';

export interface Shrunk {
  /** With its events. */
  readonly outcome: Outcome;
  /** How many runs it took. */
  readonly runs: number;
}

/** Shrinks a failure. Fails the same: the same promise, in whatever words of detail. */
export async function shrink(system: SimulatedSystem, failure: Outcome): Promise<Shrunk> {
  const shrinker = new Shrinker(system, failure);
  // Fewer faults may let less work do, and less work fewer faults.
  for (let before: Scenario | undefined; before !== shrinker.scenario;) {
    before = shrinker.scenario;
    await shrinker.dropFaults();
    await shrinker.strikeEarlier();
    await shrinker.reduceWork();
    await shrinker.mergeFaults();
  }
  await shrinker.reduceArguments();
  return { outcome: await runScenario(system, shrinker.scenario, true), runs: shrinker.runs };
}

class Shrinker {
  scenario: Scenario & { readonly faults: readonly Fault[] };
  runs = 0;
  readonly #system: SimulatedSystem;
  readonly #promise: string;

  constructor(system: SimulatedSystem, { scenario, fired, broken }: Outcome) {
    this.#system = system;
    this.#promise = broken!.promise;
    this.scenario = { ...scenario, faults: fired };
  }

  /** Takes the change where it still fails the same. */
  async #try(change: { faults?: readonly Fault[]; load?: Workload }): Promise<boolean> {
    const scenario = { ...this.scenario, ...change };
    this.runs++;
    const { broken, fired } = await runScenario(this.#system, scenario);
    if (broken?.promise !== this.#promise) return false;
    // What is listed and did not strike has no part in it.
    this.scenario = { ...scenario, faults: fired };
    return true;
  }

  async dropFaults(): Promise<void> {
    if (this.scenario.faults.length === 0 || (await this.#try({ faults: [] }))) return;
    for (let parts = 2; this.scenario.faults.length >= 2;) {
      const { faults } = this.scenario;
      if (await this.#dropOneOf(parts)) parts = Math.max(parts - 1, 2);
      else if (parts >= faults.length) return;
      else parts = Math.min(parts * 2, faults.length);
    }
  }

  async #dropOneOf(parts: number): Promise<boolean> {
    const { faults } = this.scenario;
    const size = Math.ceil(faults.length / parts);
    for (let start = 0; start < faults.length; start += size)
      if (await this.#try({ faults: faults.toSpliced(start, size) })) return true;
    return false;
  }

  /** At an earlier one of its kind of place, which may need less work: `publish #1` for `publish #6`. */
  async strikeEarlier(): Promise<void> {
    for (let index = 0; index < this.scenario.faults.length; index++) {
      const ordinal = (): number => Number(/ #(\d+) /.exec(this.scenario.faults[index]?.key ?? '')?.[1] ?? 1);
      await this.#reduce(1, ordinal, (number) =>
        this.#withFault(index, ({ key, arg }) => ({ key: key.replace(/ #\d+ /, ` #${number} `), arg })),
      );
    }
  }

  /** Leaves out what only others need: a death that later lives are counted by, a delay that a longer one can make up for. */
  async mergeFaults(): Promise<void> {
    while (await this.#mergeOne());
  }

  async #mergeOne(): Promise<boolean> {
    const { faults } = this.scenario;
    for (const { key } of faults) if (await this.#try({ faults: withoutDeath(faults, key) })) return true;
    for (const longer of faults) {
      const longest = { key: longer.key, arg: kinds[kindOf(longer)].arg[1] };
      for (const other of faults) {
        if (other === longer) continue;
        const rest = faults.filter((each) => each !== other);
        if (await this.#try({ faults: rest.map((each) => (each === longer ? longest : each)) })) return true;
      }
    }
    return false;
  }

  async reduceArguments(): Promise<void> {
    for (let index = 0; index < this.scenario.faults.length; index++)
      await this.#reduce(
        0,
        () => this.scenario.faults[index]?.arg ?? 0,
        (arg) => this.#withFault(index, ({ key }) => ({ key, arg })),
      );
  }

  #withFault(at: number, change: (fault: Fault) => Fault): { faults: readonly Fault[] } {
    return { faults: this.scenario.faults.map((fault, index) => (index === at ? change(fault) : fault)) };
  }

  async reduceWork(): Promise<void> {
    for (const [name, least] of Object.entries(this.#system.least))
      await this.#reduce(
        least,
        () => this.scenario.load[name]!,
        (value) => ({ load: { ...this.scenario.load, [name]: value } }),
      );
  }

  /** Towards the least, by halves of the way. */
  async #reduce(
    least: number,
    value: () => number,
    change: (value: number) => { faults?: readonly Fault[]; load?: Workload },
  ): Promise<void> {
    if (value() > least && (await this.#try(change(least)))) return;
    for (let low = least; value() - low > 1;) {
      const middle = Math.floor((low + value()) / 2);
      if (!(await this.#try(change(middle)))) low = middle;
    }
  }
}

/** Without this death: what struck in a later life of its process strikes in the one before. */
function withoutDeath(faults: readonly Fault[], death: string): Fault[] {
  const [role, life] = lifeOf(death);
  const moved = (key: string): string => {
    const [ofRole, ofLife] = lifeOf(key);
    return ofRole === role && ofLife > life ? key.replace(`${role}.${ofLife} `, `${role}.${ofLife - 1} `) : key;
  };
  return faults.filter(({ key }) => key !== death).map(({ key, arg }) => ({ key: moved(key), arg }));
}

/** Role and number of the life in which a fault strikes. */
function lifeOf(key: string): [role: string, life: number] {
  const [, role = key, life = '0'] = /^(\S+)\.(\d+) /.exec(key) ?? [];
  return [role, Number(life)];
}
