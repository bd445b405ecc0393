/**
 * Documentation that is executed. A fenced block of a README marked `console` holds commands, each behind `$ `, and below each what it prints.
 * In that, `…` stands for anything on the line, and a line of only `…` for any number of lines, but for `[exit N]`, which is how a command ends that fails. A block marked `console engine` needs a
 * Docker engine; `console once` changes the machine (`npm ci`) and is what the reader has done already.
 */
import { execFile } from 'node:child_process';

export interface ConsoleCommand {
  file: string;
  line: number;
  command: string;
  expected: string[];
}

/** The commands of all blocks of one kind: `''`, `engine` or `once`. */
export function consoleCommands(file: string, text: string, kind: string): ConsoleCommand[] {
  const commands: ConsoleCommand[] = [];
  let inside = false;
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('```')) inside = line.trimEnd() === `\`\`\`console ${kind}`.trimEnd();
    else if (!inside) continue;
    else if (line.startsWith('$ ')) commands.push({ file, line: index + 1, command: line.slice(2), expected: [] });
    else commands.at(-1)?.expected.push(line);
  }
  return commands;
}

/** Runs a command in the repository's root; gives what it printed on both outputs, without colours. */
export async function runCommand(command: string, directory: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve) => {
    const options = {
      cwd: directory,
      // Nx forces colours upon what it starts, and Node then warns, in between, that both variables are set.
      env: { ...env, NO_COLOR: '1', FORCE_COLOR: undefined, NODE_NO_WARNINGS: '1', npm_config_loglevel: 'error' },
      timeout: 300_000,
      maxBuffer: 16 * 1024 * 1024,
    };
    execFile('bash', ['-c', `${command} 2>&1`], options, (error, stdout) => {
      resolve(error === null ? stdout : `${stdout.trimEnd()}\n[exit ${String(error.code)}]`);
    });
  });
}

/** Says where the output differs from what is written, or nothing when it is as written. */
export function difference(expected: readonly string[], output: string): string | undefined {
  const wanted = trimBlank(expected.map((line) => line.trimEnd()));
  const actual = trimBlank(output.split('\n').map((line) => line.trimEnd()));
  const at = firstMismatch(wanted, actual);
  if (at === undefined) return undefined;
  return `the README shows: ${wanted[at] ?? '(end of output)'}\nprinted was:\n${actual.join('\n')}`;
}

function trimBlank(lines: readonly string[]): string[] {
  const first = lines.findIndex((line) => line !== '');
  const last = lines.findLastIndex((line) => line !== '');
  return first < 0 ? [] : lines.slice(first, last + 1);
}

/** The furthest wanted line that nothing printed matches; `undefined` when all match. A simple backtracking match, for short texts. */
function firstMismatch(wanted: readonly string[], actual: readonly string[]): number | undefined {
  let furthest = 0;
  const matches = (w: number, a: number): boolean => {
    furthest = Math.max(furthest, w);
    if (w === wanted.length) return a === actual.length;
    if (wanted[w] === '…') return matches(w + 1, a) || (a < actual.length && !isExit(actual[a]!) && matches(w, a + 1));
    return a < actual.length && lineMatches(wanted[w]!, actual[a]!) && matches(w + 1, a + 1);
  };
  return matches(0, 0) ? undefined : furthest;
}

/** A failure is shown, or it differs: no `…` stands for it. */
const isExit = (line: string): boolean => /^\[exit /.test(line);

function lineMatches(wanted: string, actual: string): boolean {
  const pattern = wanted.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${pattern.join('.*')}$`).test(actual);
}
