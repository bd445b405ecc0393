/**
 * Settings from flags and the environment. A schema names them once: the key `sessionTimeout` is the flag `--session-timeout` and the variable
 * `SESSION_TIMEOUT`. A flag goes before the environment, the environment before the schema's default.
 */
import { parseArgs } from 'node:util';
import type { z } from 'zod';

/** What is wrong with the settings: all of it at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

export interface ConfigSource {
  /** Without the program and its subcommand. */
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}

type Schema = z.ZodObject;

/** Reads the settings, or throws a `ConfigError` that names every problem with flag, value and what is allowed. */
export function readConfig<S extends Schema>(schema: S, { args, env }: ConfigSource): z.infer<S> {
  const keys = Object.keys(schema.shape);
  const { flags, problems } = readFlags(keys, args);
  const raw: Record<string, string> = {};
  for (const key of keys) {
    const value = flags.get(key) ?? env[variableOf(key)];
    if (value !== undefined && value !== '') raw[key] = value;
  }
  const parsed = schema.safeParse(raw);
  if (!parsed.success) problems.push(...parsed.error.issues.map((issue) => describeIssue(issue, raw)));
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems);
  return parsed.data as z.infer<S>;
}

/** The help's lines for the settings: flag, variable, what it is, default. */
export function describeConfig(schema: Schema): string {
  const rows = Object.entries(schema.shape).map(([key, field]) => {
    const { value: fallback, optional } = defaultOf(field as z.ZodType);
    const note = fallback !== undefined ? ` (default ${fallback})` : optional ? '' : ' (required)';
    return [`  ${flagOf(key)} VALUE`, `${(field as z.ZodType).description ?? ''}${note} [${variableOf(key)}]`] as const;
  });
  const width = Math.max(...rows.map(([flag]) => flag.length));
  return rows.map(([flag, text]) => `${flag.padEnd(width)}  ${text}`).join('\n');
}

/** The closest of the known words, if one is close: for "did you mean". */
export function closest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(2, word.length / 3) ? best.candidate : undefined;
}

function readFlags(keys: readonly string[], args: readonly string[]): { flags: Map<string, string>; problems: string[] } {
  const known = new Map(keys.map((key) => [flagOf(key), key]));
  const flags = new Map<string, string>();
  const problems: string[] = [];
  const options = Object.fromEntries(keys.map((key) => [flagOf(key).slice(2), { type: 'string' as const }]));
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      problems.push(`"${token.value}" is not expected here: settings are flags, --name VALUE`);
      continue;
    }
    const key = known.get(token.rawName);
    if (key === undefined) {
      const suggestion = closest(token.rawName, [...known.keys()]);
      problems.push(`there is no ${token.rawName}${suggestion === undefined ? '' : `; did you mean ${suggestion}?`}`);
    } else if (token.value === undefined) problems.push(`${token.rawName} needs a value`);
    else flags.set(key, token.value);
  }
  return { flags, problems };
}

function describeIssue(issue: z.core.$ZodIssue, raw: Readonly<Record<string, string>>): string {
  const key = String(issue.path[0]);
  const value = raw[key];
  const name = `${flagOf(key)} (or ${variableOf(key)})`;
  return value === undefined ? `${name} is required` : `${name} is "${value}": ${issue.message}`;
}

function defaultOf(field: z.ZodType): { value: string | undefined; optional: boolean } {
  const parsed = field.safeParse(undefined);
  if (!parsed.success) return { value: undefined, optional: false };
  return { value: parsed.data === undefined ? undefined : String(parsed.data), optional: true };
}

const words = (key: string): string[] => key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
const flagOf = (key: string): string => `--${words(key).join('-')}`;
const variableOf = (key: string): string => words(key).join('_').toUpperCase();

/** Levenshtein's distance, row by row. */
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
