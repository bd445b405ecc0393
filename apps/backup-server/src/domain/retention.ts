/** Which versions of a path are kept. The rules are restic's: each keeps what it says, and what no rule keeps goes. */

/** How many; what is not given keeps none, and no rule at all keeps everything. */
export interface KeepRules {
  /** The newest versions. */
  keep?: number | undefined;
  /** The newest version of each of so many hours that have one; likewise the others. */
  keepHourly?: number | undefined;
  keepDaily?: number | undefined;
  keepWeekly?: number | undefined;
  keepMonthly?: number | undefined;
}

export interface Kept {
  version: number;
  /** Missing where the version's record is damaged. */
  createdMs?: number;
}

const dayMs = 86_400_000;
/** 1970 began on a Thursday, and weeks begin on Mondays. */
const firstMondayMs = -3 * dayMs;

/** When two versions are of the same hour, day, week or month: in UTC, in which they are listed, too. */
const periods: Readonly<Record<keyof KeepRules, (version: Kept & { createdMs: number }) => number | string>> = {
  keep: ({ version }) => version,
  keepHourly: ({ createdMs }) => Math.floor(createdMs / 3_600_000),
  keepDaily: ({ createdMs }) => Math.floor(createdMs / dayMs),
  keepWeekly: ({ createdMs }) => Math.floor((createdMs - firstMondayMs) / (7 * dayMs)),
  keepMonthly: ({ createdMs }) => new Date(createdMs).toISOString().slice(0, -'-ddThh:mm:ss.sssZ'.length),
};

/**
 * The numbers of the versions that no rule keeps, of all versions of a path in the order of their numbers. Newest is the highest
 * number, whatever the clock said. As long as a rule may keep more than there are periods, it keeps the oldest version, too. One
 * whose record is damaged counts for nothing, and goes when it is older than all that are kept.
 */
export function surplus(versions: readonly Kept[], rules: KeepRules): number[] {
  const names = Object.keys(periods) as (keyof KeepRules)[];
  const left = new Map(names.filter((rule) => rules[rule] !== undefined).map((rule) => [rule, rules[rule]!]));
  if (left.size === 0) return [];
  const newestFirst = versions.filter((each): each is Kept & { createdMs: number } => each.createdMs !== undefined).reverse();
  const kept = new Set<number>();
  const last = new Map<keyof KeepRules, number | string>();
  for (const [index, version] of newestFirst.entries())
    for (const [rule, count] of left) {
      const period = periods[rule](version);
      if (count === 0 || (period === last.get(rule) && index < newestFirst.length - 1)) continue;
      kept.add(version.version);
      last.set(rule, period);
      left.set(rule, count - 1);
    }
  const oldestKept = kept.size === 0 ? 0 : Math.min(...kept);
  return versions
    .filter(({ version, createdMs }) => !kept.has(version) && (createdMs !== undefined || version < oldestKept))
    .map(({ version }) => version);
}
