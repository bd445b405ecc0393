/** Every program of the machines. Each loads what it needs when it is chosen. */
import { runMain, type Command, type ConfigSource } from '@lab/process';

const commands: Record<string, Command> = {};

export const main = ({ args, env }: ConfigSource): Promise<number> =>
  runMain('main.ts', commands, {
    args,
    env,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
  });
