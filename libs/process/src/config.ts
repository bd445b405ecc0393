/**
 * Settings from flags and the environment. A schema names them once: the key `sessionTimeout` is the flag `--session-timeout` and the variable
 * `SESSION_TIMEOUT`. A flag goes before the environment, the environment before the schema's default.
 *
 * A schema with `.meta({ environment: false })` has flags only: for commands that people type, whose flags have names (`--path`) that the
 * environment uses for other things. With `.meta({ operand: 'file' })` a word that is no flag is the value of that key: of a list, each such word.
 *
 * A flag has its value behind it (`--port 80` or `--port=80`); of a repeated one the last counts. A boolean is `--verbose`
 * or `--no-verbose`. A list is repeated or has commas (`--peer a --peer b,c`); one `.meta({ commas: false })` is only repeated. In the environment a boolean is `true` or `false`, `1` or `0`, and an
 * empty variable is as good as none, for that is what compose makes of one that is not set. A `path` is read as an absolute one: a relative one is
 * taken from the folder in which the command was given, and not from that to which npm and Nx change; npm leaves it in `INIT_CWD`, Nx in `CALLER_CWD`. `SESSION_KEY_FILE` names a
 * file that has the value of `SESSION_KEY`, with or without a line feed behind it: as Docker's secrets come.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { z } from 'zod';

/** What is wrong with the settings: all of it at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** A sentence each, naming the flag, the variable, the value and what is allowed. */
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Where settings come from; arguments, so that nothing but a main reads its process. */
export interface ConfigSource {
  /** Without the program and its subcommand. */
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}

/** Reads the settings; throws a `ConfigError` with every problem in flags, variables and values. */
export function readConfig<S extends z.ZodObject>(schema: S, { args, env }: ConfigSource): z.infer<S> {
  const settings = settingsOf(schema);
  const { given, problems } = readFlags(settings, args);
  for (const { key, variable, kind, commas } of settings) {
    const text = variable === undefined ? undefined : env[variable] || textOf(`${variable}_FILE`, env, problems);
    if (!given.has(key) && text !== undefined && text !== '') given.set(key, kind === 'list' ? valuesIn(text, commas) : text);
  }
  const raw = Object.fromEntries(
    settings.map(({ key, kind, isPath }) => {
      const value = given.get(key);
      if (isPath && typeof value === 'string') return [key, resolve(env['CALLER_CWD'] ?? env['INIT_CWD'] ?? '.', value)];
      return [key, kind === 'boolean' ? truthOf(value) : value];
    }),
  );
  const parsed = schema.safeParse(raw, { error: plainWords });
  if (parsed.success && problems.length === 0) return parsed.data;
  const issues = (parsed.error?.issues ?? []).map((issue) => describeIssue(issue, settings, given));
  // Each part of a list has its issue, and one name.
  throw new ConfigError([...new Set([...problems, ...issues])]);
}

function textOf(variable: string, env: ConfigSource['env'], problems: string[]): string | undefined {
  const file = env[variable];
  if (!file) return undefined;
  try {
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    // An empty variable is none. An empty file is a mistake, and what would go on without it, as a password, is another.
    if (text === '') problems.push(`${variable} is "${file}", which is empty`);
    return text;
  } catch (error) {
    problems.push(`${variable} is "${file}": ${(error as Error).message}`);
    return undefined;
  }
}

/** The flags as a usage line shows them, those that must be given first; and a line for each with its meaning, default and variable. */
export function describeConfig(schema: z.ZodObject): { usage: string; lines: string } {
  const settings = settingsOf(schema);
  const required = settings.filter((setting) => setting.required).map((setting) => setting.example);
  const usage = [...required, ...(required.length < settings.length ? ['[options]'] : [])].join(' ');
  const width = Math.max(0, ...settings.map(({ example }) => example.length));
  const lines = settings.map(({ example, description, fallback, required, variable }) => {
    const note = required ? '(required)' : fallback ? `(default ${fallback})` : '';
    const origin = variable === undefined ? '' : `[${variable}]`;
    return `  ${example.padEnd(width)}  ${[description, note, origin].filter((part) => part !== '').join(' ')}\n`;
  });
  return { usage, lines: lines.join('') };
}

/** The known word that is closest to a mistyped one, if it is close enough to be meant. */
export function closest(word: string, known: readonly string[]): string | undefined {
  const distances = known.map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate) }));
  const best = distances.sort((a, b) => a.distance - b.distance)[0];
  // Two slips, or one in three letters of a long word; more is another word.
  return best !== undefined && best.distance <= Math.max(2, word.length / 3) ? best.candidate : undefined;
}

/** One key of a schema, as its users see it. */
interface Setting {
  key: string;
  flag: string;
  /** In the environment; undefined where the schema has flags only. */
  variable: string | undefined;
  kind: 'boolean' | 'list' | 'single';
  /** Of a list, what its values are between. */
  commas: boolean;
  /** It is a single one, and names a file or a folder. */
  isPath: boolean;
  /** The flag with its value: `--port NUMBER`; of an operand only the value. */
  example: string;
  /** Words that are no flags are values of this one. */
  operand: boolean;
  description: string;
  required: boolean;
  fallback: string | undefined;
}

function settingsOf(schema: z.ZodObject): Setting[] {
  const { environment, operand } = schema.meta() ?? {};
  const flagsOnly = environment === false;
  return Object.entries(schema.shape).map(([key, field]) => {
    const words = key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
    const layers = layersOf(field as z.ZodType);
    const innermost = layers.at(-1)!.def;
    const kind = innermost.type === 'boolean' ? 'boolean' : innermost.type === 'array' ? 'list' : 'single';
    const form = { kind, operand: key === operand, commas: !layers.some((layer) => layer.commas === false) } as const;
    return {
      key,
      flag: `--${words.join('-')}`,
      variable: flagsOnly ? undefined : words.join('_').toUpperCase(),
      ...form,
      isPath: layers.some((layer) => layer.path === true),
      example: exampleOf(words, form, innermost),
      description: layers.find((layer) => layer.description !== undefined)?.description ?? '',
      required: !(field as z.ZodType).safeParse(undefined).success,
      fallback: fallbackOf(layers),
    };
  });
}

/** One of the schemas that a field is made of. */
interface Layer {
  def: z.core.$ZodTypes['_zod']['def'];
  description: string | undefined;
  commas: unknown;
  path: unknown;
}

/** A field and what it wraps: `optional`, `default`, `prefault` and `transform` each are a layer around another schema. */
function layersOf(field: z.core.$ZodType): Layer[] {
  const { def, description } = field as z.core.$ZodTypes & { def: Layer['def']; description?: string };
  const { commas, path } = (field as z.ZodType).meta?.() ?? {};
  const layer = { def, description, commas, path };
  if (def.type === 'pipe') return [layer, ...layersOf(def.in)];
  return 'innerType' in def ? [layer, ...layersOf(def.innerType)] : [layer];
}

function exampleOf(
  words: readonly string[],
  { kind, operand, commas }: Pick<Setting, 'kind' | 'operand' | 'commas'>,
  def: Layer['def'],
): string {
  if (operand) return `${words.join('-').toUpperCase()}${kind === 'list' ? '...' : ''}`;
  return kind === 'boolean' ? `--[no-]${words.join('-')}` : `--${words.join('-')} ${placeholderOf(def, commas)}`;
}

function placeholderOf(def: Layer['def'], commas: boolean): string {
  if (def.type === 'enum') return Object.values(def.entries).join('|');
  if (def.type === 'array') return commas ? 'VALUE,...' : 'VALUE';
  return def.type === 'number' ? 'NUMBER' : 'VALUE';
}

/** As it would be typed: of a `prefault` what stands before the schema's own conversion, of a `default` what comes after it. */
function fallbackOf(layers: readonly Layer[]): string | undefined {
  for (const { def } of layers) if (def.type === 'default' || def.type === 'prefault') return String(def.defaultValue);
  return undefined;
}

type Given = Map<string, string | string[]>;

/** The arguments with the first one that is neither a flag nor a flag's value in front: the subcommand, wherever it was typed. */
export function commandFirst(schemas: readonly z.ZodObject[], args: readonly string[]): string[] {
  for (const { at, flag } of argumentsOf(schemas.flatMap(settingsOf), args))
    if (flag === undefined) return [args[at]!, ...args.slice(0, at), ...args.slice(at + 1)];
  return [...args];
}

function readFlags(settings: readonly Setting[], args: readonly string[]): { given: Given; problems: string[] } {
  const given: Given = new Map();
  const problems: string[] = [];
  const operand = settings.find((setting) => setting.operand);
  for (const { flag, value } of argumentsOf(settings, args)) {
    if (flag === undefined && operand !== undefined && (operand.kind === 'list' || !given.has(operand.key))) {
      given.set(operand.key, operand.kind === 'list' ? [...(given.get(operand.key) ?? []), value] : value);
      continue;
    }
    const negated = flag === undefined ? undefined : settings.find((each) => flag === negationOf(each));
    const setting = negated ?? settings.find((each) => each.flag === flag);
    if (flag === undefined) problems.push(`"${value}" is not expected here: settings are flags, --name VALUE`);
    else if (setting === undefined) problems.push(unknownFlag(flag, settings));
    else if (negated !== undefined && value === undefined) given.set(setting.key, 'false');
    else if (negated !== undefined) problems.push(`${flag} takes no value: leave out "=${value}"`);
    else if (setting.kind === 'boolean') given.set(setting.key, value ?? 'true');
    else if (value === undefined || value === '') problems.push(`${flag} needs a value: ${setting.example}`);
    else if (setting.kind === 'list')
      given.set(setting.key, [...(given.get(setting.key) ?? []), ...valuesIn(value, setting.commas)]);
    else given.set(setting.key, value);
  }
  return { given, problems };
}

const valuesIn = (text: string, commas: boolean): string[] => (commas ? text.split(',') : [text]);

function unknownFlag(flag: string, settings: readonly Setting[]): string {
  const suggestion = closest(
    flag,
    settings.map((setting) => setting.flag),
  );
  return `there is no ${flag}${suggestion === undefined ? '' : `; did you mean ${suggestion}?`}`;
}

/** What was typed, and where: a flag with its value, if it has one, or only a value. */
type Argument = { at: number; flag: string; value: string | undefined } | { at: number; flag: undefined; value: string };

const negationOf = ({ kind, flag }: Setting): string | undefined =>
  kind === 'boolean' ? flag.replace('--', '--no-') : undefined;
export const helpFlags = ['--help', '-h'];

/**
 * A flag has the word behind it for its value, unless that is a flag: then the value was forgotten. Behind a flag that does not exist, what looks
 * like its value goes with it. Behind `--` there are no flags.
 */
function* argumentsOf(settings: readonly Setting[], args: readonly string[]): Generator<Argument> {
  const flagsEnd = args.includes('--') ? args.indexOf('--') : args.length;
  for (let at = 0; at < args.length; at++) {
    const [word, next] = [args[at]!, args[at + 1]];
    const equals = word.indexOf('=');
    if (at > flagsEnd || !word.startsWith('-') || word === '-') yield { at, flag: undefined, value: word };
    else if (equals > 0) yield { at, flag: word.slice(0, equals), value: word.slice(equals + 1) };
    else if (at < flagsEnd) {
      const setting = settings.find((each) => word === each.flag || word === negationOf(each));
      const takesNone = setting?.kind === 'boolean' || helpFlags.includes(word);
      const hasValue = !takesNone && next !== undefined && !next.startsWith(setting === undefined ? '-' : '--');
      yield { at, flag: word, value: hasValue ? next : undefined };
      if (hasValue) at += 1;
    }
  }
}

/** Whatever else is given stays as it is, for the schema to refuse. */
function truthOf(given: string | string[] | undefined): boolean | string | string[] | undefined {
  if (given === 'true' || given === '1') return true;
  return given === 'false' || given === '0' ? false : given;
}

/** Zod speaks of types, and of NaN, to people who typed a word. */
const plainWords: z.core.$ZodErrorMap = (issue) => {
  if (issue.code === 'too_small' && issue.inclusive && issue.origin === 'number') return `at least ${issue.minimum} is allowed`;
  if (issue.code === 'too_big' && issue.inclusive && issue.origin === 'number') return `at most ${issue.maximum} is allowed`;
  if (issue.code === 'invalid_value') return `expected ${issue.values.join(' or ')}`;
  if (issue.code !== 'invalid_type') return undefined;
  return issue.expected === 'boolean'
    ? 'expected true or false'
    : `expected ${issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`}`;
};

function describeIssue(issue: z.core.$ZodIssue, settings: readonly Setting[], given: Given): string {
  const setting = settings.find(({ key }) => key === issue.path[0]);
  if (setting === undefined) return issue.message;
  const value = given.get(setting.key);
  const flag = setting.operand ? setting.example : setting.flag;
  const names = setting.variable === undefined ? flag : `${flag} (or ${setting.variable})`;
  return value === undefined
    ? `${names} is required: ${setting.description}`
    : `${names} is "${String(value)}": ${issue.message}`;
}

/** Levenshtein's distance: the fewest letters to put in, take out or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
