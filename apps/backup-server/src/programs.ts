/**
 * Every program of the system: the roles, the node, the admin, the demo, and what makes keys. Each loads
 * what it needs when it is chosen.
 */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { command, ExitError, exitCodes, runProgram, type Command, type ProgramProcess } from '@lab/process';
import { adminCommands, openCommands } from './admin/commands.ts';
import * as config from './config.ts';
import { nameFromBytes } from './domain/file-names.ts';

// Of a tree of a million files many objects are alive at once: V8's room for young ones grows to 128 MB then, that for old ones to
// twice what is needed, and what is free stays V8's.
setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--memory-saver-mode');

const hosts = (): Promise<typeof import('./hosts.ts')> => import('./hosts.ts');
const stdout = (text: string): void => void process.stdout.write(text);

async function makeKeyFile({ output, master, of }: config.KeyConfig): Promise<void> {
  if ((master === undefined) !== (of === undefined))
    throw new ExitError('give --master FILE and --of NAME both, or neither for a new master key', exitCodes.usage);
  const keys = await import('./channel/keys.ts');
  keys.writeKey(output, keys.makeKey(master === undefined ? undefined : keys.readKey(master), of));
  const who = of === undefined ? 'the server and the requesters need this file' : `only ${of} needs this file`;
  console.error(`made ${output}: ${who}, and nobody else may read it`);
}

const commands: Record<string, Command> = {
  demo: command({
    summary: 'the whole system in one process: backs up, changes, restores, compares',
    settings: config.demoConfig,
    run: async (settings) => (await import('./demo.ts')).demo(settings),
  }),
  standalone: command({
    summary: 'server, nodes manager and backup requester in one process, without RabbitMQ',
    settings: config.standaloneConfig,
    run: async (settings) => (await hosts()).runStandalone(settings),
  }),
  node: command({
    summary: 'serves backups of paths below its root',
    settings: config.nodeConfig,
    run: async (settings) => (await hosts()).runNode(settings),
  }),
  admin: adminCommands(stdout),
  open: openCommands(stdout),
  'content-creator': command({
    summary: 'writes a line a second to a file',
    settings: config.contentCreatorConfig,
    run: async (settings) => (await hosts()).runContentCreator(settings),
  }),
  key: command({
    summary: 'makes the master key, and of it the keys of nodes and admins',
    settings: config.keyConfig,
    run: makeKeyFile,
  }),
  ...Object.fromEntries(
    config.roleNames.map((name) => [
      name,
      command({
        summary: `the role ${name}, on RabbitMQ`,
        settings: config.roleConfig,
        run: async (settings) => (await hosts()).runOnRabbitmq(name, settings),
      }),
    ]),
  ),
};

/** Node takes arguments for UTF-8; a path that is not has to be read where the kernel keeps it. */
function exactArgs(args: readonly string[]): readonly string[] {
  if (!args.some((arg) => arg.includes('\ufffd'))) return args;
  try {
    const raw = readFileSync('/proc/self/cmdline');
    const all: string[] = [];
    for (let at = 0; at < raw.length;) {
      const end = raw.indexOf(0, at);
      all.push(nameFromBytes(raw.subarray(at, end)));
      at = end + 1;
    }
    return all.slice(-args.length);
  } catch {
    return args;
  }
}

export const main = ({ argv, env, stdout, stderr, exit }: ProgramProcess): Promise<number> =>
  runProgram(commands, { argv: exactArgs(argv), env, stdout, stderr, exit });
