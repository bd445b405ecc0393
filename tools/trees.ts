/** Files in memory, by their paths, while they are renamed, chosen and formatted. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as prettier from 'prettier';

export interface TreeFile {
  readonly bytes: Buffer;
  readonly isExecutable: boolean;
}

/** By path, relative to a root, with slashes. */
export type Tree = Map<string, TreeFile>;

export function readTree(root: string, paths: readonly string[]): Tree {
  return new Map(
    paths.map((path) => {
      const file = join(root, path);
      return [path, { bytes: readFileSync(file), isExecutable: (statSync(file).mode & 0o111) !== 0 }];
    }),
  );
}

export function writeTree(folder: string, tree: Tree): void {
  for (const [path, { bytes, isExecutable }] of tree) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
    if (isExecutable) chmodSync(file, 0o755);
  }
}

export const textFile = (text: string): TreeFile => ({ bytes: Buffer.from(text), isExecutable: false });

/** What is in a file of a tree, which has it. */
export const textOf = (tree: Tree, path: string): string => tree.get(path)!.bytes.toString();

/** The tree with other texts, formatted as this repository is where they have changed; pictures and the like stay as they are. */
export async function edited(root: string, tree: Tree, edit: (text: string, path: string) => string): Promise<Tree> {
  const files = [...tree].map(async ([path, file]): Promise<[string, TreeFile]> => {
    if (file.bytes.includes(0)) return [path, file];
    const before = file.bytes.toString();
    const text = edit(before, path);
    if (text === before) return [path, file];
    return [path, { ...file, bytes: Buffer.from(await formatted(root, path, text)) }];
  });
  return new Map(await Promise.all(files));
}

async function formatted(root: string, path: string, text: string): Promise<string> {
  if (path.endsWith('.md')) return wrapped(text);
  const filepath = join(root, path);
  const { ignored, inferredParser } = await prettier.getFileInfo(filepath, { ignorePath: join(root, '.prettierignore') });
  if (ignored || inferredParser === null) return text;
  return prettier.format(text, { ...(await prettier.resolveConfig(join(root, 'package.json'))), filepath });
}

const lineMax = 120;

/** A line of prose that has grown too long goes on in the next one, and so on to the end of its paragraph. */
function wrapped(document: string): string {
  const lines: string[] = [];
  let [fenced, rest, indent] = [false, '', ''];
  for (const line of [...document.split('\n'), '']) {
    let text = line;
    if (rest !== '' && isContinuation(line)) text = `${indent}${rest} ${line.trimStart()}`;
    else if (rest !== '') lines.push(indent + rest);
    rest = '';
    if (line.startsWith('```')) fenced = !fenced;
    const at = text.lastIndexOf(' ', lineMax);
    if (!fenced && text.length > lineMax && !text.startsWith('|') && at > 0) {
      indent = ' '.repeat(/^\s*(?:[-*] |\d+\. )?/.exec(text)![0].length);
      rest = text.slice(at + 1);
      text = text.slice(0, at);
    }
    lines.push(text);
  }
  return lines.slice(0, -1).join('\n');
}

/** Whether a line goes on with the paragraph before it. */
const isContinuation = (line: string): boolean => !/^\s*($|[-*+] |\d+\. |#|\||>|```)/.test(line);
