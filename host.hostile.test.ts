/**
 * Everything that may be unusual about a host is unusual here: the path of the checkout, which is an export without Git; proxies that lead nowhere;
 * variables for another PostgreSQL; colours, both asked for and forbidden; no locale; a home that takes nothing; another folder for temporary
 * files; a closed input; and, where root runs this, a user who is not root. Demos, benches and tests must not notice.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repositoryFiles } from './tools/repository-files.ts';

const root = import.meta.dirname;
const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'lab-hostile-'));
const checkout = join(scratch, 'kit é #1 100%');
const home = join(scratch, 'home');
const temporary = join(scratch, 'temporary é #1 100%');

const proxy = 'http://127.0.0.1:9';
/** All there is: no locale, and of the path nothing of the checkout that runs this. */
const env = {
  PATH: process.env['PATH']!.split(':')
    .filter((folder) => !folder.startsWith(root))
    .join(':'),
  HOME: home,
  TMPDIR: temporary,
  ...Object.fromEntries(['http', 'https', 'all', 'grpc'].map((kind) => [`${kind}_proxy`, proxy])),
  ...{ HTTP_PROXY: proxy, HTTPS_PROXY: proxy },
  ...{ PGHOST: 'nowhere.invalid', PGPORT: '1', PGUSER: 'nobody', PGPASSWORD: 'wrong', PGDATABASE: 'other', PGSSLMODE: 'require' },
  PGOPTIONS: '-c default_transaction_read_only=on',
  ...{ NO_COLOR: '1', FORCE_COLOR: '1' },
};

/** Who runs the commands: not root, who may write anywhere. */
const user = process.getuid?.() === 0 ? { uid: nobody('-u'), gid: nobody('-g') } : {};

function nobody(flag: string): number {
  return Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
}

beforeAll(() => {
  for (const file of repositoryFiles(root)) {
    mkdirSync(join(checkout, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(checkout, file));
  }
  linkOrCopy(join(root, 'node_modules'), checkout);
  mkdirSync(temporary);
  mkdirSync(home);
  // Folders alone: what is in node_modules are the same files as in the other checkout.
  if (user.uid !== undefined)
    execFileSync('find', [scratch, '-type', 'd', '-exec', 'chown', `${user.uid}:${user.gid}`, '{}', '+']);
  chmodSync(home, 0o555);
}, 300_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A copy takes a minute and a gigabyte, but works from one file system to another. */
function linkOrCopy(from: string, to: string): void {
  try {
    execFileSync('cp', ['-al', from, to], { stdio: 'ignore' });
  } catch {
    execFileSync('cp', ['-a', from, to]);
  }
}

/** What a command of the shell prints, on both outputs, when it has ended well. */
async function run(command: string): Promise<string> {
  const child = spawn('bash', ['-c', `${command} 2>&1 <&-`], {
    cwd: checkout,
    env,
    ...user,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const output = await text(child.stdout);
  const code = await ended;
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${output.slice(-8_000)}`);
  return output;
}

const embeddedDemos = readdirSync(join(root, 'apps')).filter((app) => {
  const { scripts, lab } = JSON.parse(readFileSync(join(root, 'apps', app, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
    lab?: { demo?: string };
  };
  return scripts['demo'] !== undefined && lab?.demo !== 'engine';
});

describe('on a hostile host', { timeout: 600_000 }, () => {
  it('every demo on embedded parts passes', async () => {
    const output = await run('npm run demo');
    expect(embeddedDemos.filter((app) => !output.includes(`── ${app} ──`))).toEqual([]);
    expect(output).not.toMatch(/proxy/i);
  });

  it('a bench measures, and writes to the folder that it was called in', async () => {
    expect(await run('cd docs && npx nx bench protocol --json bench.json')).toMatch(/name +target +measured/);
    expect(readFileSync(join(checkout, 'docs/bench.json'), 'utf8')).toContain('"holds"');
  });

  it.each(['npx nx test word-count', 'npx nx test testing', 'npx nx test process', 'npx nx test protocol'])(
    '"%s" passes',
    async (command) => {
      expect(await run(command)).toMatch(/Tests .*\d+ passed/);
    },
  );

  it('tests of gRPC, of PostgreSQL and of the documents pass', async () => {
    const files = [
      'apps/image-tagging/test/system.test.ts',
      'apps/news-consortium/test/system.test.ts',
      'tools/repository-files.test.ts',
    ];
    expect(await run(`npx vitest run --project unit ${files.join(' ')}`)).toMatch(/Tests .*\d+ passed/);
  });
});
