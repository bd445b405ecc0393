import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

const check = join(import.meta.dirname, 'node-24.js');
const checkUrl = pathToFileURL(check).href;
/** As if Node were older. */
const older = `data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'20.20.2'}})`;

it('lets this Node pass', () => {
  expect(execFileSync(process.execPath, ['--import', checkUrl, '--print', '1 + 1'], { encoding: 'utf8' })).toBe('2\n');
});

it('says one sentence on an older Node, before anything is loaded', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', older, '--import', checkUrl, 'no-such-file.ts'], {
    encoding: 'utf8',
  });
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^This is Node 20\.20\.2; .* Node 24\..*\.\n$/);
});

it('gives Nx the same sentence as the error of its plugin', () => {
  const load = `import(${JSON.stringify(pathToFileURL(join(import.meta.dirname, 'nx-targets.js')).href)}).catch((error) => console.log(error.message))`;
  const args = ['--import', older, '--input-type=module', '--eval', load];
  expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toMatch(/^This is Node 20\.20\.2; /);
});

it('stands before every demo, and before what runs them and the tests', () => {
  const root = join(import.meta.dirname, '..');
  const scriptsOf = (folder: string): Record<string, string> =>
    (JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as { scripts: Record<string, string> }).scripts;
  const demos = readdirSync(join(root, 'apps')).map((app) => scriptsOf(join('apps', app))['demo']);
  const all = [...demos, ...Object.values(scriptsOf('.'))].filter((script) => script !== undefined);
  expect(all.filter((script) => !/^node --import (\.|\.\.\/\.\.)\/tools\/node-24\.js /.test(script))).toEqual([]);
});
