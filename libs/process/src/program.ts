/** A program: a table of commands, chosen and set by the command line. */
import { basename } from 'node:path';
import { z } from 'zod';
import { closest, commandFirst, ConfigError, describeConfig, helpFlags, readConfig, type ConfigSource } from './config.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';

/** One subcommand of a program; `command` makes it. */
export interface Command {
  /** For the list of commands; half a line. */
  summary: string;
  settings: z.ZodObject;
  /** Of a group of commands, which has no settings of its own. */
  commands?: Commands;
  /** Reads the settings and does the work; resolves with the exit code, 0 if with nothing. */
  run(source: ConfigSource): Promise<number | void>;
}

/** Makes a command of work to do, which gets the settings that its schema describes. */
export function command<S extends z.ZodObject>(parts: {
  summary: string;
  settings: S;
  run(config: z.infer<S>): Promise<number | void>;
}): Command {
  const { summary, settings } = parts;
  return { summary, settings, run: async (source) => parts.run(readConfig(settings, source)) };
}

/** Makes a command that consists of commands: `admin list`. Their flags may stand before their names, too: `admin --server HOST:PORT list`. */
export function commandGroup(parts: { summary: string; commands: Commands }): Command {
  return {
    ...parts,
    settings: z.object({}),
    run: () => Promise.reject(new Error('a group is not run, but one of its commands')),
  };
}

/** Names and what they stand for. */
export type Commands = Readonly<Record<string, Command>>;

/** The part of `process` that a program needs: its main gives it. */
export interface ProgramProcess {
  argv: readonly string[];
  env: ConfigSource['env'];
  stdout: { write(text: string): unknown; on?(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown };
  stderr: { write(text: string): unknown };
  exit?: ((code: number) => never) | undefined;
}

/** As a shell has it for SIGPIPE. */
const exitBrokenPipe = 141;

/**
 * Does what the command line says, of a program that is called like its file. Resolves with the exit code. Where its output cannot be written, on a
 * full disk or to who has read enough, it ends at once.
 */
export function runProgram(commands: Commands, { argv, env, stdout, stderr, exit }: ProgramProcess): Promise<number> {
  stdout.on?.('error', ({ code, message }) => {
    if (code === 'EPIPE') exit?.(exitBrokenPipe);
    stderr.write(`the output cannot be written: ${message}\n`);
    exit?.(exitCodes.failed);
  });
  return runMain(basename(argv[1] ?? ''), commands, {
    args: argv.slice(2),
    env,
    stdout: (text) => void stdout.write(text),
    stderr: (text) => void stderr.write(text),
  });
}

/** What `runMain` knows of its process. */
export interface MainIo extends ConfigSource {
  /** What stands on the command line behind node and the file. */
  args: readonly string[];
  stdout(text: string): void;
  stderr(text: string): void;
}

/**
 * A program of subcommands. Without one, or with `help`, it lists them; `help` behind one lists its settings; a mistyped command, flag or value
 * is explained on stderr. `--help` is the same, where it gets through: behind `npx nx` it is Nx's own. Resolves with the exit code.
 */
export async function runMain(program: string, commands: Commands, io: MainIo): Promise<number> {
  const [name = '--help', ...args] = io.args;
  const chosen = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (chosen === undefined) return explainCommands(program, commands, name, io);
  if (chosen.commands !== undefined) {
    const schemas = Object.values(chosen.commands).map(({ settings }) => settings);
    // Who has called it for somebody says what that one has typed so far.
    const { LAB_TYPED: typed = `${program} ${name}`, ...env } = io.env;
    return runMain(typed, chosen.commands, { ...io, env, args: commandFirst(schemas, args) });
  }
  return runCommand(`${program} ${name}`, chosen, { ...io, args });
}

/** A program of one command, which is called so: as `runMain` does one of its. */
export async function runCommand(called: string, chosen: Command, { args, env, ...io }: MainIo): Promise<number> {
  if (args[0] === helpWord || args.some((arg) => helpFlags.includes(arg))) {
    const { usage, lines } = describeConfig(chosen.settings);
    io.stdout(`${`Usage: ${called} ${usage}`.trimEnd()}\n\n${chosen.summary}\n\n${lines}`);
    return exitCodes.ok;
  }
  try {
    return (await chosen.run({ args, env })) ?? exitCodes.ok;
  } catch (error) {
    if (error instanceof ConfigError) {
      io.stderr(`${error.problems.join('\n')}\n"${called} help" lists the settings\n`);
      return exitCodes.usage;
    }
    const code = exitCodeOf(error);
    // Who has thought of an error has made its message say all.
    io.stderr(`${error instanceof Error ? (code === undefined ? error.stack : error.message) : String(error)}\n`);
    return code ?? exitCodes.failed;
  }
}

const helpWord = 'help';

function explainCommands(program: string, commands: Commands, name: string, io: MainIo): number {
  const names = Object.keys(commands);
  const width = Math.max(...names.map((each) => each.length));
  const list = Object.entries(commands).map(([each, { summary }]) => `  ${each.padEnd(width)}  ${summary}\n`);
  const help = `Usage: ${program} COMMAND [options]\n\n${list.join('')}\n"${program} COMMAND help" lists a command's settings\n`;
  if (name === helpWord || helpFlags.includes(name)) {
    io.stdout(help);
    return exitCodes.ok;
  }
  const suggestion = closest(name, names);
  io.stderr(`there is no command "${name}"${suggestion === undefined ? '' : `; did you mean ${suggestion}?`}\n\n${help}`);
  return exitCodes.usage;
}
