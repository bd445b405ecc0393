/**
 * Patterns of what is not backed up, as restic has them: `*` and `?` stand for characters of a name, `[a-z]` for one of a set,
 * `**` for any number of folders; `\` makes the next character plain. A pattern that begins with `/` means a place below the
 * registered path, any other a name, or names in a row, wherever they are. What is excluded goes with all that is in it.
 */

/** All patterns of a path travel in the head of a message. */
const patternsMax = 100;
const charactersMax = 4096;

/** What is wrong with patterns, if anything is. */
export function problemOf(patterns: readonly string[]): string | undefined {
  if (patterns.length > patternsMax) return `${patterns.length} patterns; at most ${patternsMax} are allowed`;
  const characters = patterns.reduce((sum, pattern) => sum + pattern.length, 0);
  if (characters > charactersMax) return `patterns of ${characters} characters; at most ${charactersMax} are allowed`;
  return patterns.some((pattern) => partsOf(pattern).length === 0) ? 'a pattern is empty' : undefined;
}

/** Says of a path below the registered one whether a pattern means it. */
export function excluding(patterns: readonly string[]): (path: string) => boolean {
  const matchers = patterns.map(matcherOf);
  return (path) => {
    const names = path.split('/');
    return matchers.some((matches) => matches(names));
  };
}

type Test<T> = (item: T) => boolean;
/** Any number of items. */
const any = Symbol('any');
type Token<T> = typeof any | Test<T>;

const partsOf = (pattern: string): string[] => pattern.split('/').filter((part) => part !== '');

function matcherOf(pattern: string): Test<readonly string[]> {
  const parts = partsOf(pattern);
  const tokens = parts.map((part): Token<string> => (part === '**' ? any : nameTest(part)));
  if (pattern.startsWith('/')) return (names) => fits(tokens, names);
  // Of what is above, the folder itself was excluded.
  if (!tokens.includes(any)) return (names) => fits(tokens, names.slice(-tokens.length));
  return (names) => fits([any, ...tokens], names);
}

function nameTest(part: string): Test<string> {
  if (!/[*?[\\]/.test(part)) return (name) => name === part;
  const tokens = tokensOf([...part]);
  return (name) => fits(tokens, [...name]);
}

function tokensOf(characters: readonly string[]): Token<string>[] {
  const tokens: Token<string>[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    const end = character === '[' ? setEnd(characters, at) : -1;
    if (character === '*') tokens.push(any);
    else if (character === '?') tokens.push(() => true);
    else if (end > 0) {
      tokens.push(setTest(characters.slice(at + 1, end)));
      at = end;
    } else {
      const plain = character === '\\' ? (characters[++at] ?? '\\') : character;
      tokens.push((each) => each === plain);
    }
  }
  return tokens;
}

const isNegation = (character: string | undefined): boolean => character === '^' || character === '!';

/** Where a set ends; a `]` at its beginning is in it. -1 where it does not end: then the bracket is a plain one. */
const setEnd = (characters: readonly string[], at: number): number =>
  characters.indexOf(']', at + (isNegation(characters[at + 1]) ? 3 : 2));

function setTest(set: readonly string[]): Test<string> {
  const isNegative = isNegation(set[0]);
  const members = isNegative ? set.slice(1) : set;
  const ranges: [string, string][] = [];
  for (let at = 0; at < members.length; at++) {
    const isRange = members[at + 1] === '-' && members[at + 2] !== undefined;
    ranges.push([members[at]!, members[isRange ? at + 2 : at]!]);
    if (isRange) at += 2;
  }
  return (each) => ranges.some(([from, to]) => from <= each && each <= to) !== isNegative;
}

/** Whether the tokens stand for all of the items: in time that is the product of both, whatever they are. */
function fits<T>(tokens: readonly Token<T>[], items: readonly T[]): boolean {
  let [token, item, lastAny, takenTo] = [0, 0, -1, 0];
  while (item < items.length) {
    const next = tokens[token];
    if (next === any) [lastAny, takenTo] = [token++, item];
    else if (next?.(items[item]!) === true) [token, item] = [token + 1, item + 1];
    else if (lastAny >= 0) [token, item] = [lastAny + 1, ++takenTo];
    else return false;
  }
  return tokens.slice(token).every((each) => each === any);
}
