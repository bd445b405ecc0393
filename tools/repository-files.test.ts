import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { repositoryFiles } from './repository-files.ts';

const root = join(import.meta.dirname, '..');

it('lists the same files without Git as with it', () => {
  const withGit = repositoryFiles(root).sort();
  const zip = mkdtempSync(join(tmpdir(), 'lab-zip-'));
  try {
    for (const file of withGit) {
      mkdirSync(join(zip, dirname(file)), { recursive: true });
      cpSync(join(root, file), join(zip, file));
    }
    for (const file of ['node_modules/a.ts', 'apps/x/tmp/b.ts', '.nx/c.json', 'libs/d.log']) {
      mkdirSync(join(zip, dirname(file)), { recursive: true });
      writeFileSync(join(zip, file), '');
    }
    expect(repositoryFiles(zip).sort()).toEqual(withGit);
  } finally {
    rmSync(zip, { recursive: true });
  }
});
