import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { languages } from './exercise-texts.ts';
import { Exercises, main } from './exercise.ts';
import { mistakesOf } from './mutants.ts';
import { textFile, writeTree } from './trees.ts';

const root = join(import.meta.dirname, '..');
const apps = readdirSync(join(root, 'apps')).filter((app) => existsSync(join(root, 'apps', app, 'exercises')));
const folders = apps.flatMap((app) =>
  readdirSync(join(root, 'apps', app, 'exercises')).map((name): [string, string] => [app, name]),
);

describe.each(folders)('the exercise of %s in %s', (app, name) => {
  const folder = join(root, 'apps', app, 'exercises', name);
  const { kind, rule, promise, promises } = new Exercises(root, app).definition(Number.parseInt(name));

  it('has a task, hints and an explanation in three languages, and what its kind needs', () => {
    const own = { break: [], build: ['judge.ts', 'solution.patch'], find: ['solution.ts', 'start.ts'] }[kind];
    const documents = ['explanation', 'hints', 'task'].flatMap((name) => languages.map((language) => `${name}.${language}.md`));
    expect(
      readdirSync(folder)
        .filter((file) => file !== 'yours.test.ts')
        .sort(),
    ).toEqual(['exercise.json', ...documents, ...own].sort());
    for (const document of documents) expect(readFileSync(join(folder, document), 'utf8')).toMatch(/^(# |1\. |\p{Lu}).+\n/u);
    const hints = languages.map((language) => readFileSync(join(folder, `hints.${language}.md`), 'utf8').match(/^\d\. /gm));
    expect(hints).toEqual(hints.map(() => hints[0]));
  });

  it.each(readdirSync(folder).filter((file) => file.endsWith('.patch')))('has a %s that its app takes', (patch) => {
    expect(() => execFileSync('git', ['apply', '--check', join(folder, patch)], { cwd: root, stdio: 'pipe' })).not.toThrow();
  });

  it('is about a mistake that is listed, and asks for a promise that is among the answers', async () => {
    const rules = (await mistakesOf(root, `apps/${app}`)).map((mistake) => mistake.rule);
    if (kind === 'build') expect(rule).toBeUndefined();
    else expect(rules).toContain(rule);
    if (kind === 'find') expect(promises).toContain(promise);
  });
});

describe('the command', () => {
  const run = async (args: string[], env = {}): Promise<string> => {
    const printed: string[] = [];
    expect(await main(root, 'word-count', args, env, (text) => printed.push(text))).toBe(0);
    return printed.join('');
  };

  it('lists the exercises in the language that is asked for, and that of the environment else', async () => {
    expect(await run([])).toMatch(/^1 {2}break {2}More words than the text has/);
    expect(await run([], { LANG: 'pt_PT.UTF-8' })).toContain('Mais palavras');
    expect(await run(['--lang', 'es'], { LANG: 'pt_PT.UTF-8' })).toMatch(
      /Más palabras[^]+\n\nEmpieza uno: npx nx exercise word-count 1;/,
    );
    expect(await run(['help'])).toContain('reset');
  });

  it('says what there is where something else is asked for', async () => {
    await expect(run(['repair'])).rejects.toThrow('there is no command "repair"');
    await expect(run(['--lang', 'fr'])).rejects.toThrow('--lang fr: there are en, es, pt');
    await expect(main(root, 'none', [], {}, () => undefined)).rejects.toThrow('none has no exercises');
  });

  it('says that there is no such exercise, also while another one is begun', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lab-exercise-'));
    const begun = { current: 1, begun: { 1: { solved: false } } };
    const files = { 'exercises/1-a/exercise.json': '{"kind":"break"}', 'tmp/exercises.json': JSON.stringify(begun) };
    writeTree(folder, new Map(Object.entries(files).map(([path, text]) => [`apps/tiny/${path}`, textFile(text)])));
    const begin = (number: string): Promise<number> => main(folder, 'tiny', [number], {}, () => undefined);
    for (const number of ['0', '9']) await expect(begin(number)).rejects.toThrow(`there is no exercise ${number} of tiny`);
    rmSync(folder, { recursive: true });
  });
});
