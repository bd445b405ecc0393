/**
 * A repository that `npm run eject` has made of an app passes a suite on real engines there: docker files, images and containers are found where they
 * are now. One app a day, in turn, as each makes an image of its own.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { eject, install } from './tools/eject.ts';
import { ofToday } from './tools/in-turn.ts';

const root = import.meta.dirname;
const apps = readdirSync(join(root, 'apps'));
const app = ofToday(apps);
/** The shortest of each. */
const suite = { 'word-count': 'word-count.chaos', 'ha-web': 'database.integration' }[app] ?? 'compose.integration';
const folder = join(root, 'tmp', 'ejected-on-engine');

const imagesOf = (): string[] =>
  execFileSync('docker', ['images', '--quiet', `lab/${app}`], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean);
const before = imagesOf();

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  for (const image of imagesOf().filter((each) => !before.includes(each))) execFileSync('docker', ['rmi', '--force', image]);
});

it(`of ${app}, ${suite}.test.ts`, { timeout: 900_000 }, async () => {
  rmSync(folder, { recursive: true, force: true });
  await eject(root, app, folder);
  install(root, folder);
  // Its containers run beside those of the original, whose suites run meanwhile.
  const manifest = join(folder, 'apps', app, 'package.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"@lab/${app}"`, `"@lab/${app}-ejected"`));
  const kind = suite.split('.')[1]!;
  const args = ['vitest', 'run', '--project', `${kind}*`, `apps/${app}/test/${suite}.test.ts`];
  const env = { ...process.env, INIT_CWD: undefined };
  const { stdout } = await promisify(execFile)('npx', args, { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 });
  expect(stdout).toMatch(/Tests .*\d+ passed/);
});
