/** What can be asked of `npx nx break`, without doing it: its verbs, words and targets, and the faults that a seed chooses. */
import { parseArgs } from 'node:util';
import { duration } from '@lab/process';
import { seededRandom, type Random } from '@lab/testing';

/** Whoever typed it can put it right: exit code 2. */
export class UsageError extends Error {}

interface Verb {
  /** What follows it: targets are capital letters, `[B]` may be left out. */
  readonly words: string;
  readonly summary: string;
}

const table = {
  kill: { words: 'A', summary: 'SIGKILL; at the end it is started again' },
  stop: { words: 'A', summary: 'SIGTERM, in good order; at the end it is started again' },
  start: { words: 'A', summary: 'starts what was killed or stopped' },
  restart: { words: 'A', summary: 'stops it in good order and starts it again, at once' },
  pause: { words: 'A', summary: 'its processes stand still, its connections stay open: it hangs' },
  unpause: { words: 'A', summary: 'they go on' },
  cut: { words: 'A [B]', summary: 'packets between A and B are lost; without B all of A, the cable is pulled' },
  slow: { words: 'A 200ms', summary: 'what A sends arrives so much later' },
  lose: { words: 'A 5%', summary: 'so many of its packets are lost, each way' },
  'fill-disk': { words: 'A', summary: 'its files on volumes cannot grow: "no space left on device"; restarts it first' },
  clock: { words: 'A +1h', summary: 'its clock is fast, or slow (-1h); restarts it, at the end again' },
  heal: { words: '[A]', summary: 'ends all that is broken, whoever broke it' },
  list: { words: '', summary: 'what can be broken, and what is' },
  random: { words: '', summary: 'one fault after another, chosen by --seed, for --for; same seed, same faults' },
} as const satisfies Readonly<Record<string, Verb>>;

export type VerbName = keyof typeof table;
export const verbs: Readonly<Record<VerbName, Verb>> = table;

export interface Order {
  readonly verb: VerbName;
  readonly targets: readonly string[];
  /** Of `slow` in ms, of `lose` in percent, of `clock` in seconds; otherwise 0. */
  readonly amount: number;
  readonly forMs: number;
  /** Returns at once, and the fault stays. */
  readonly keep: boolean;
  /** Of `cut`: only what A sends is lost. */
  readonly oneWay: boolean;
  readonly seed: number | undefined;
}

const defaultMs = 60_000;

export function help(app: string): string {
  const rows = Object.entries(verbs).map(([name, { words, summary }]) => `  ${`${name} ${words}`.padEnd(14)} ${summary}`);
  return `Usage: npx nx break ${app} VERB WORDS [--for 60s | --keep]

Breaks a part of the running system, and mends it after a minute or at Ctrl-C.

${rows.join('\n')}

  --for 2m       how long it lasts: 500ms, 10s, 2m, 1h (default 60s)
  --keep         returns at once, and it lasts until start, unpause or heal
  --one-way      of cut: only what A sends is lost
  --seed 7       of random: which faults (default: any, and it is printed)

Targets are roles, with a number where there are several, and engines; list names them.`;
}

/** What was typed, without the program. */
export function parse(args: readonly string[]): Order {
  const { values, positionals } = parsed(args);
  const [verb = '', ...words] = positionals;
  if (!isVerb(verb)) throw new UsageError(`"${verb}" is no verb; there are ${Object.keys(verbs).join(', ')}`);
  const expected = verbs[verb].words.split(' ').filter(Boolean);
  const least = expected.filter((each) => !each.startsWith('[')).length;
  if (words.length < least || words.length > expected.length)
    throw new UsageError(
      `${verb} takes ${verbs[verb].words || 'nothing'}, ${words.length === 0 ? 'and got nothing' : `not "${words.join(' ')}"`}${words.length < least ? '; list names the targets' : ''}`,
    );
  if (values['one-way'] === true && verb !== 'cut') throw new UsageError('--one-way is of cut alone');
  if (values.seed !== undefined && verb !== 'random') throw new UsageError('--seed is of random alone');
  if (values.keep === true && verb === 'random') throw new UsageError('random ends each of its faults: it takes no --keep');
  if (values.keep === true && values.for !== undefined)
    throw new UsageError('--for ends it, --keep lets it stay: give one of them');
  if (atOnce.has(verb) && (values.keep === true || values.for !== undefined))
    throw new UsageError(`${verb} leaves nothing that ends later: it takes no --for and no --keep`);
  const isTarget = (_: string, index: number): boolean => /^\[?[A-Z]\]?$/.test(expected[index]!);
  const targets = words.filter(isTarget);
  if (targets.length === 2 && targets[0] === targets[1]) throw new UsageError(`${targets[0]} cannot be cut from itself`);
  return {
    verb,
    targets,
    amount: amountOf(verb, words.at(-1)),
    forMs: values.for === undefined ? defaultMs : milliseconds(values.for, '--for', 1, 24 * 3_600_000),
    keep: values.keep === true,
    oneWay: values['one-way'] === true,
    seed: values.seed === undefined ? undefined : seedOf(values.seed),
  };
}

const atOnce: ReadonlySet<VerbName> = new Set(['start', 'restart', 'unpause', 'heal', 'list']);

const isVerb = (word: string): word is VerbName => Object.hasOwn(verbs, word);

function parsed(args: readonly string[]) {
  const options = {
    for: { type: 'string' },
    keep: { type: 'boolean' },
    'one-way': { type: 'boolean' },
    seed: { type: 'string' },
  } as const;
  try {
    // `-1h` is a time, not an option.
    const words = args.map((arg) => arg.replace(/^-(?=\d)/, '\0'));
    const { values, positionals } = parseArgs({ args: words, options, allowPositionals: true });
    const typed = (word: string): string => word.replace('\0', '-');
    return {
      values: { ...values, for: values.for && typed(values.for), seed: values.seed && typed(values.seed) },
      positionals: positionals.map(typed),
    };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function amountOf(verb: VerbName, word = ''): number {
  if (verb === 'slow') return milliseconds(word, 'the delay', 1, 60_000);
  if (verb === 'lose') return percentOf(word);
  return verb === 'clock' ? shiftOf(word) : 0;
}

function milliseconds(text: string, what: string, min: number, max: number): number {
  const { data, error } = duration({ min, max }).safeParse(text);
  if (data === undefined) throw new UsageError(`${what} is ${error.issues[0]!.message}, not "${text}"`);
  return data;
}

function percentOf(text: string): number {
  const percent = Number(/^(\d+(?:\.\d+)?)%$/.exec(text)?.[1]);
  if (!(percent > 0 && percent <= 100))
    throw new UsageError(`what is lost is more than 0% and at most 100%, as 5%, not "${text}"`);
  return percent;
}

/** Ten years are enough for every certificate and lease. */
const shiftMaxMs = 10 * 365 * 86_400_000;

function shiftOf(text: string): number {
  const ms = duration({ min: 1_000, max: shiftMaxMs }).safeParse(text.slice(1)).data;
  if (ms === undefined || !/^[+-]/.test(text))
    throw new UsageError(`a clock is set by +1h, -30s, +2d, at most ten years, not by "${text}"`);
  return Math.round(ms / 1_000) * (text.startsWith('+') ? 1 : -1);
}

function seedOf(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--seed is a whole number of at most nine digits, not "${text}"`);
  return Number(text);
}

/** A container of the project, as Docker names it. */
export interface Named {
  readonly service: string;
  /** `<project>-<service>-<number>`, but for one that was added by hand. */
  readonly container: string;
}

/** Names for targets: the service, and its number where it has several instances. One that was added by hand has its own. */
export function targetNames(project: string, containers: readonly Named[]): string[] {
  const short = containers.map(({ container }) => container.slice(project.length + 1));
  return containers.map(({ service }, index) => {
    const own = short[index]!;
    const isOnly = own === `${service}-1` && !short.some((each) => each !== own && new RegExp(`^${service}-\\d+$`).test(each));
    return isOnly ? service : own;
  });
}

/** The place of a target among these names; a role of one instance may have its number. */
export function findTarget(names: readonly string[], wanted: string): number {
  const exact = names.indexOf(wanted);
  const found = exact < 0 ? names.findIndex((name) => `${name}-1` === wanted) : exact;
  if (found < 0) throw new UsageError(`"${wanted}" is no target; there are ${names.join(', ')}`);
  return found;
}

/** How long a fault of `random` lasts, and the pause after it: long enough for a lease to end, short enough for a few in a minute. */
const faultSeconds = { least: 3, most: 15 };
/** In a short time none lasts longer than this share of it, so that there are some. */
const faultShareMax = 0.25;
const calmSeconds = { least: 2, most: 6 };
/** What every kind of target can stand, without a restart of its own. */
const drawn: readonly VerbName[] = ['kill', 'stop', 'pause', 'cut', 'slow', 'lose'];

/** Faults one after the other, with the calm before each, which together take so long. */
export function planned(seed: number, forMs: number, names: readonly string[]): { order: Order; calmMs: number }[] {
  const random = seededRandom(seed);
  const longest = Math.max(faultSeconds.least, Math.min(faultSeconds.most, Math.floor((forMs * faultShareMax) / 1_000)));
  const plan: { order: Order; calmMs: number }[] = [];
  for (let atMs = 0; ;) {
    const calm = random.integer(calmSeconds.least, calmSeconds.most) * 1_000;
    const order = drawnOrder(random, names, longest);
    atMs += calm + order.forMs;
    if (atMs > forMs) return plan;
    plan.push({ order, calmMs: calm });
  }
}

function drawnOrder(random: Random, names: readonly string[], longest: number): Order {
  const verb = random.pick(drawn);
  const [first, second] = random.shuffle(names);
  const isBetweenTwo = verb === 'cut' && second !== undefined && random.chance(0.5);
  const amount = { slow: random.integer(50, 500), lose: random.integer(5, 50) }[verb as 'slow' | 'lose'] ?? 0;
  return {
    verb,
    targets: isBetweenTwo ? [first!, second] : [first!],
    amount,
    forMs: random.integer(faultSeconds.least, longest) * 1_000,
    keep: false,
    oneWay: verb === 'cut' && random.chance(0.3),
    seed: undefined,
  };
}
