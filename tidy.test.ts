/**
 * What a linter cannot say: which way imports point, who may read clocks and the environment, and that the documents are true.
 * Every finding is `file:line: rule`, and each rule says why it is there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageTargets } from './tools/nx-targets.js';
import { repositoryFiles } from './tools/repository-files.ts';

const root = import.meta.dirname;
const files = repositoryFiles(root);
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const isTest = (file: string): boolean => /\.test\.ts$|\/test\/|\/bench\//.test(file);

interface Rule {
  name: string;
  why: string;
  applies: (file: string) => boolean;
  forbids: RegExp;
  /** Files where one finding is right, and why. */
  except?: Readonly<Record<string, string>>;
}

const rules: Rule[] = [
  {
    name: 'domain code imports domain code, and of libraries @lab/columns, which is as pure',
    why: 'what is pure can be simulated, replayed and read alone',
    applies: (file) => /^apps\/[^/]+\/src\/(\w+\/)?domain\/[^/]+\.ts$/.test(file) && !isTest(file),
    forbids: /\bfrom '(?!\.\/|@lab\/columns')/,
  },
  {
    name: 'domain code in a folder of its own imports what domain code may',
    why: 'what is pure can be simulated, replayed and read alone',
    applies: (file) => /^apps\/[^/]+\/src\/(\w+\/)?domain\/\w+\/[^/]+\.ts$/.test(file) && !isTest(file),
    forbids: /\bfrom '(?!\.\.?\/[\w-]+\.ts'|@lab\/columns')/,
  },
  {
    name: 'domain code knows no time, chance, timer or environment',
    why: 'they are arguments, or no run can be repeated',
    applies: (file) => /^(apps\/[^/]+\/src\/(\w+\/)?domain|libs\/columns\/src)\/.*\.ts$/.test(file) && !isTest(file),
    forbids: /\bDate\.now\b|new Date\(\)|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\b|\bprocess\.|\bperformance\./,
  },
  {
    name: 'roles know ports only',
    why: 'a role runs in a container, in the demo and in a simulation, and must not notice',
    applies: (file) => /^apps\/[^/]+\/src\/(\w+\/)?roles\/.*\.ts$/.test(file) && !isTest(file),
    forbids:
      /\bfrom '(node:|(\.\.\/)+([\w-]+\/)*(main|demo|wiring|config|hosts|programs)\.ts)|\bset(Timeout|Interval)\(|\bDate\.now\b|\bMath\.random\b|\bprocess\./,
  },
  {
    name: 'only a main reads the environment',
    why: 'a setting that is read in the depths cannot be seen, listed or tested',
    applies: (file) =>
      /^(apps|libs)\/.*\.ts$/.test(file) &&
      !isTest(file) &&
      !/\/src\/(main|demo)\.ts$|\/deploy\//.test(file) &&
      !file.startsWith('libs/testing/'),
    forbids: /\bprocess\.(env|argv)\b/,
    except: { 'libs/embedded-postgres/src/index.ts': 'variables for another PostgreSQL would mislead the clients of this one' },
  },
  {
    name: 'a file finds others by import.meta.dirname or fileURLToPath',
    why: 'the pathname of a URL is percent-encoded: where a folder has a space in its name, it names nothing',
    applies: (file) => file.endsWith('.ts') && file !== 'tidy.test.ts',
    forbids: /\bimport\.meta\.(url|resolve)\b.*\.pathname\b/,
  },
  {
    name: 'a test waits for a condition, never for a time',
    why: 'a sleep is too long on every machine but the slow one, where it is too short',
    applies: (file) => /\.test\.ts$|\/test\/.*\.ts$/.test(file) && file !== 'tidy.test.ts',
    forbids: /\bsetTimeout(\(| as )|\bsleep\((?!([\w#]+\.)*clock, )|\bdelay\(\d/,
    except: {
      'apps/bike-analytics/test/client-run.ts': 'the client reads at a pace, so that it is not done before the fault strikes',
      'apps/ha-web/test/database-machines.ts': 'a client rests between two orders: the load has a pace',
      'apps/ha-web/test/shoppers.ts': 'a buyer rests between two orders: the load has a pace',
      'apps/image-tagging/test/compose.chaos.test.ts': 'a client rests between two pictures: the load has a pace',
      'docker/postgres.integration.test.ts': 'a seed says after what time a server is killed',
    },
  },
  {
    name: 'what runs in production imports no test tools',
    why: 'the images of the apps are made without them',
    applies: (file) =>
      /^(apps|libs)\/[^/]+\/src\/.*\.tsx?$/.test(file) &&
      !isTest(file) &&
      !/^libs\/(testing|simulation|watch)\/|\/contract\.ts$/.test(file),
    forbids: /\b(from |import\()'@lab\/(testing|simulation)\b/,
  },
  {
    name: 'no test is skipped or alone',
    why: 'what does not run proves nothing',
    applies: (file) => file.endsWith('.test.ts') && file !== 'tidy.test.ts',
    forbids: /\b(it|test|describe)\.(skip|only|todo)\b/,
  },
  {
    name: 'nothing of one machine, and no host of a package registry',
    why: 'the repository must work wherever it is cloned',
    applies: (file) => file !== 'tidy.test.ts' && !/\.(csv|png)$/.test(file),
    forbids: /registry\.npmjs|deb\.debian\.org|archive\.ubuntu\.com|\/home\/[a-z]+\/|\/work\//,
  },
];

describe('source files', () => {
  it.each(rules)('$name', ({ applies, forbids, name, why, except = {} }) => {
    const findings = files.filter(applies).flatMap((file) => {
      const found = read(file)
        .split('\n')
        .flatMap((line, index) => (forbids.test(line) ? [`${file}:${index + 1}: ${name} (${why}): ${line.trim()}`] : []));
      if (!Object.hasOwn(except, inOriginal(file))) return found;
      return found.length === 1 ? [] : [`${file}: ${name}: one exception, but ${found.length} findings`];
    });
    expect(findings).toEqual([]);
    expect(Object.keys(except).filter((file) => !files.includes(file))).toEqual([]);
  });

  it('name in their comments only files that exist', () => {
    const findings = files
      .filter((file) => /\.(ts|tsx|js)$/.test(file))
      .flatMap((file) =>
        comments(read(file)).flatMap(({ line, text }) =>
          [...text.matchAll(/(?<![\w./*-])(?:\.{0,2}\/)*([\w-][\w./-]*\.ts)\b/g)]
            .map(([, name]) => name!)
            .filter((name) => !files.some((each) => each === name || each.endsWith(`/${name}`)))
            .map((name) => `${file}:${line}: ${name}`),
        ),
      );
    expect(findings).toEqual([]);
  });

  it('are named in kebab-case', () => {
    const sources = files.filter((file) => file.endsWith('.ts'));
    expect(sources.filter((file) => !/^[a-z0-9./-]+$/.test(file))).toEqual([]);
  });
});

/** A file of a copy that `npm run new` has made, as it is called in the original: what is an exception there is one here. */
function inOriginal(file: string): string {
  const [, app = ''] = /^apps\/([^/]+)\//.exec(file) ?? [];
  const { lab } = JSON.parse(app === '' ? '{}' : read(`apps/${app}/package.json`)) as { lab?: { from?: string } };
  return lab?.from === undefined ? file : file.replaceAll(app, lab.from);
}

/** Comments, line by line. */
function comments(source: string): { line: number; text: string }[] {
  return source.split('\n').flatMap((each, index) => {
    const text = /^\s*(?:\/\*|\*).*|(?:^|\s)\/\/ .*/.exec(each)?.[0];
    return text === undefined ? [] : [{ line: index + 1, text }];
  });
}

type Manifest = { name: string; scripts?: Record<string, string>; private?: boolean } & Partial<
  Record<`${'' | 'dev' | 'optional'}Dependencies` | 'dependencies', Record<string, string>>
>;
const manifests = files
  .filter((file) => /(^|\/)package\.json$/.test(file))
  .map((file) => ({ file, manifest: JSON.parse(read(file)) as Manifest }));

describe('packages', () => {
  const versions = manifests.flatMap(({ file, manifest }) =>
    (['dependencies', 'devDependencies', 'optionalDependencies'] as const).flatMap((kind) =>
      Object.entries(manifest[kind] ?? {}).map(([name, version]) => ({ file, name, version })),
    ),
  );

  it('name every version exactly, so that all install the same', () => {
    const loose = versions.filter(({ name, version }) => !name.startsWith('@lab/') && !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
    expect(loose).toEqual([]);
  });

  it('agree on the version of whatever several of them use', () => {
    const byName = Map.groupBy(versions, ({ name }) => (/^(nx|@nx\/.*)$/.test(name) ? 'nx' : name));
    const split = [...byName].filter(([, uses]) => new Set(uses.map(({ version }) => version)).size > 1);
    expect(split).toEqual([]);
  });

  it('declare every package that their sources import', () => {
    const undeclared = manifests.flatMap(({ file, manifest }) => {
      const declared = new Set([...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.devDependencies ?? {})]);
      const own = files.filter(
        (source) => file !== 'package.json' && source.startsWith(`${dirname(file)}/`) && source.endsWith('.ts'),
      );
      return own.flatMap((source) =>
        importedPackages(read(source))
          .filter((name) => !declared.has(name) && !sharedTools.has(name))
          .map((name) => `${source}: ${name}`),
      );
    });
    expect(undeclared).toEqual([]);
  });
});

describe('the lock file', () => {
  interface Locked {
    optionalDependencies?: Record<string, string>;
  }
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
  const locked = new Set(
    Object.keys(packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)),
  );

  it('has the parts of every package for Linux and macOS, so that npm ci installs them there', () => {
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies)
        .filter((name) => /linux|darwin/.test(name) && /x64|arm64|aarch64/.test(name) && !locked.has(name))
        .map((name) => `${path}: ${name}: take the package out of package.json, npm install, and put it back`),
    );
    expect(missing).toEqual([]);
  });
});

/** Test tools of the whole workspace, declared in its root. */
const sharedTools = new Set(['vitest', 'fast-check']);

function importedPackages(source: string): string[] {
  const specifiers = [...source.matchAll(/^(?:import|export)\b[^;]*?\bfrom '([^'.][^']*)'/gm)].map(([, specifier]) => specifier!);
  const packages = specifiers.filter((specifier) => !specifier.startsWith('node:'));
  return packages.map((specifier) =>
    specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/'),
  );
}

describe('documents', () => {
  const documents = files.filter((file) => file.endsWith('.md'));

  it('name only npm scripts, Nx targets and files that exist', () => {
    const scripts = new Map(
      manifests.map(({ file, manifest }) => [
        manifest.name.replace('@lab/', ''),
        { ...packageTargets(dirname(file)), ...manifest.scripts },
      ]),
    );
    const rootScripts = manifests.find(({ file }) => file === 'package.json')?.manifest.scripts ?? {};
    const findings = documents.flatMap((file) => {
      const text = read(file);
      const npmScripts = [...text.matchAll(/npm run ([\w:]+)/g)].filter(
        // `update` is a script of what `npm run eject` makes.
        ([, name]) => name !== 'update' && !(name! in rootScripts),
      );
      const targets = [...text.matchAll(/npx nx (?!affected )(\w+) ([\w-]+)/g)].filter(
        // `yours` stands for the reader's own app.
        ([, target, project]) => project !== 'yours' && !(target! in (scripts.get(project!) ?? {})),
      );
      const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].filter(
        ([, target]) => !existsSync(join(root, dirname(file), target!)),
      );
      return [...npmScripts, ...targets, ...links].map(([match]) => `${file}: ${match}`);
    });
    expect(findings).toEqual([]);
  });

  it.each(['README.es.md', 'README.pt.md'])('show a newcomer the same commands in every language: %s', (file) => {
    const commandsOf = (readme: string): string[] =>
      [...read(readme).matchAll(/^(?:\$ |\| `)(np[mx] [^`\n]+)/gm)].map(([, command]) => command!);
    expect(commandsOf(file)).toEqual(commandsOf('README.md'));
  });

  it('fit a window: lines of at most 120 characters, but for what a program printed', () => {
    const wide = documents.flatMap((file) =>
      proseLines(read(file)).flatMap(({ line, text }) => (text.length > 120 ? [`${file}:${line}`] : [])),
    );
    expect(wide).toEqual([]);
  });

  it('name the trunk of an app: at most 10 files and 1,500 lines that carry its idea', () => {
    const readmes = documents.filter((file) => /^apps\/[^/]+\/README\.md$/.test(file));
    const findings = readmes.flatMap((file) => {
      const trunk = /^## The trunk\n(.*?)(?=^## )/ms.exec(`${read(file)}\n## `)?.[1] ?? '';
      const links = [...trunk.matchAll(/^\d+\. \[[^\]]*\]\((src\/[^)]+\.ts)\)/gm)].map(([, path]) => join(dirname(file), path!));
      const lines = links.reduce((total, path) => total + read(path).split('\n').length - 1, 0);
      return links.length >= 1 && links.length <= 10 && lines <= 1500 ? [] : [`${file}: ${links.length} files, ${lines} lines`];
    });
    expect(findings).toEqual([]);
  });

  it('lead to the code: what a reader needs first ends with the trunk and, by line 100, with where to read on', () => {
    const findings = documents
      // A longer name makes the lines of a copy more.
      .filter((file) => /^apps\/[^/]+\/README\.md$/.test(file) && inOriginal(file) === file)
      .flatMap((file) => {
        const lines = read(file).split('\n');
        const [trunk, readOn] = [lines.indexOf('## The trunk') + 1, lines.indexOf('## Read on') + 1];
        return readOn === 0 || (trunk < readOn && readOn <= readOnLineMax) ? [] : [`${file}:${readOn}: the trunk is at ${trunk}`];
      });
    expect(findings).toEqual([]);
  });
});

/** Two screens. */
const readOnLineMax = 100;

/** The lines of a document outside of its fenced blocks. */
function proseLines(document: string): { line: number; text: string }[] {
  let fenced = false;
  return document.split('\n').flatMap((text, index) => {
    if (text.startsWith('```')) fenced = !fenced;
    return fenced ? [] : [{ line: index + 1, text }];
  });
}
