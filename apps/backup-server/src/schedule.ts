/** How often a backup is made: `30` or `30s`, `5m`, `1h`, `1d`, or a cron expression in the time zone of the nodes manager. */
import { Cron } from 'croner';

/** Says when it is next, after a time; both in ms since 1970. */
export type Schedule = (afterMs: number) => number;

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** The schedule is looked at each second. */
const intervalMsMin = 1_000;
const intervalMsMax = 366 * 86_400_000;

/** What is no schedule is a `RangeError` that says what is. */
export function parseSchedule(text: string): Schedule {
  const interval = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text.trim());
  if (interval !== null) {
    const everyMs = Number(interval[1]) * unitMs[interval[2] || 's']!;
    if (!(everyMs >= intervalMsMin && everyMs <= intervalMsMax)) throw new RangeError('an interval is from 1s to 366d');
    return (afterMs) => afterMs + everyMs;
  }
  let cron: Cron;
  try {
    cron = new Cron(text);
  } catch (cause) {
    throw new RangeError('give seconds (30), a number with s, m, h or d (5m), or a cron expression ("0 2 * * *")', { cause });
  }
  if (cron.nextRuns(2).length < 2) throw new RangeError('this does not come again and again');
  return (afterMs) => cron.nextRun(new Date(afterMs))?.getTime() ?? Infinity;
}
