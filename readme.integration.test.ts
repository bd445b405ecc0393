/** The documents' commands that need a Docker engine print what is written below them: those of the smallest app and of one other a day, in turn. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { consoleCommands, difference, runCommand } from './tools/console-blocks.ts';
import { inTurn } from './tools/in-turn.ts';
import { repositoryFiles } from './tools/repository-files.ts';

const root = import.meta.dirname;
const apps = inTurn(readdirSync(join(root, 'apps')));
const isInTurn = (file: string): boolean => !file.startsWith('apps/') || apps.includes(file.split('/')[1]!);
const documents = repositoryFiles(root).filter((file) => file.endsWith('.md') && isInTurn(file));

describe('documents', () => {
  const commands = documents.flatMap((file) => consoleCommands(file, readFileSync(join(root, file), 'utf8'), 'engine'));
  it.each(commands)('$file:$line shows what "$command" prints', { timeout: 300_000 }, async ({ command, expected }) => {
    expect(difference(expected, await runCommand(command, root, process.env))).toBeUndefined();
  });
});
