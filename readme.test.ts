/** The commands in the documents of one folder print what is written below them. vitest.config.ts makes a project of each such folder. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { consoleCommands, difference, runCommand } from './tools/console-blocks.ts';

const root = import.meta.dirname;

declare module 'vitest' {
  interface ProvidedContext {
    /** Documents with commands, relative to the workspace's root. */
    documents: string[];
  }
}

const commands = inject('documents').flatMap((file) => consoleCommands(file, readFileSync(join(root, file), 'utf8'), ''));

it.each(commands)('$file:$line shows what "$command" prints', { timeout: 120_000 }, async ({ command, expected }) => {
  expect(difference(expected, await runCommand(command, root, process.env))).toBeUndefined();
});
