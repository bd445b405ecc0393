/** What belongs to the repository, in a clone and in an export of it alike. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Every file that Git has or would take, by its path from the root. Without Git, as in a ZIP: every file that .gitignore does not name. */
export function repositoryFiles(root: string): string[] {
  const files = existsSync(join(root, '.git')) ? listedByGit(root) : undefined;
  return files ?? walk(root, ignored(root), '');
}

/** Nothing where there is no Git, or where it refuses another user's folder. */
function listedByGit(root: string): string[] | undefined {
  try {
    const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return list.split('\0').filter((file) => file !== '' && existsSync(join(root, file)));
  } catch {
    return undefined;
  }
}

/** .gitignore names folders (`tmp/`) and endings (`*.log`), nothing else. */
function ignored(root: string): (entry: string) => boolean {
  const patterns = readFileSync(join(root, '.gitignore'), 'utf8').split('\n').filter(Boolean);
  return (entry) => patterns.some((pattern) => (pattern.startsWith('*') ? entry.endsWith(pattern.slice(1)) : entry === pattern));
}

function walk(root: string, isIgnored: (entry: string) => boolean, folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const isFolder = entry.isDirectory();
    const path = join(folder, entry.name);
    if (entry.name === '.git' || isIgnored(isFolder ? `${entry.name}/` : entry.name)) return [];
    return isFolder ? walk(root, isIgnored, path) : [path];
  });
}
