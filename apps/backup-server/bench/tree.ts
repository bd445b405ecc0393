/**
 * Trees of files that a seed fixes: the same names, sizes and bytes on every machine. About half of the bytes is text-like,
 * half random.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, open, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { seededRandom } from '@lab/testing';

export interface TreeOptions {
  /** Is made; must not exist yet. */
  directory: string;
  seed: number;
  /** How many small ones; their sizes vary a thousandfold. */
  smallFiles: number;
  /** Of all small files together. */
  smallBytes: number;
  /** Size of the one big file; 0 for none. */
  bigBytes: number;
  signal: AbortSignal;
}

export interface Tree {
  readonly directory: string;
  readonly files: number;
  readonly bytes: number;
  /**
   * Edits every hundredth small file and appends a sixteenth to the big one. Resolves with the bytes changed: the whole new
   * size of the small files edited, and what was appended.
   */
  change(): Promise<number>;
  /** Puts contents back to what they were when the tree was made; times of modification stay new. */
  reset(): Promise<void>;
}

interface SmallFile {
  path: string;
  bytes: number;
  content(): Buffer;
}

const filesPerFolder = 64;
const smallestToLargest = 1024;
const changedShare = 100;
const growthShare = 16;
const insertedBytesMax = 64;
const blockBytes = 2 ** 20;

export async function makeTree(options: TreeOptions): Promise<Tree> {
  const { directory, seed, bigBytes, signal } = options;
  const small = smallFiles(options);
  const big = join(directory, 'archive.bin');
  for (const folder of new Set(small.map(({ path }) => dirname(path)))) await mkdir(folder, { recursive: true });
  await writeAll(small, signal);
  if (bigBytes > 0) await append(big, `${seed} big`, bigBytes, signal);
  const edited = seededRandom(seed)
    .fork('edited')
    .shuffle(small)
    .slice(0, Math.ceil(small.length / changedShare));
  return {
    directory,
    files: small.length + (bigBytes > 0 ? 1 : 0),
    bytes: options.smallBytes + bigBytes,
    async change() {
      const changed = edited.map((file) => withInsertion(file, seed));
      await writeAll(changed, signal);
      const growthBytes = Math.floor(bigBytes / growthShare);
      if (growthBytes > 0) await append(big, `${seed} growth`, growthBytes, signal);
      return changed.reduce((sum, { bytes }) => sum + bytes, growthBytes);
    },
    async reset() {
      await writeAll(edited, signal);
      if (bigBytes > 0) await truncate(big, bigBytes);
    },
  };
}

function smallFiles({ directory, seed, smallFiles: count, smallBytes }: TreeOptions): SmallFile[] {
  const random = seededRandom(seed).fork('sizes');
  const weights = Array.from({ length: count }, () => smallestToLargest ** random.next());
  const weight = weights.reduce((sum, each) => sum + each, 0);
  const sizes = weights.map((each) => Math.floor((each / weight) * smallBytes));
  const roundedOff = smallBytes - sizes.reduce((sum, each) => sum + each, 0);
  return sizes.map((size, index) => {
    const folder = Math.floor(index / filesPerFolder);
    const text = index % 2 === 0;
    const bytes = index === 0 ? size + roundedOff : size;
    return {
      path: join(directory, `year-${folder % 16}`, `folder-${folder}`, text ? `letter-${index}.txt` : `photo-${index}.bin`),
      bytes,
      content: () => (text ? textLike : randomBytes)(`${seed} small ${index}`, bytes),
    };
  });
}

/** The file with some bytes put in anywhere, as an editor leaves it: what stands behind them has moved. */
function withInsertion(file: SmallFile, seed: number): SmallFile {
  const random = seededRandom(seed).fork(`edit of ${file.bytes} ${file.path}`);
  const insertion = randomBytes(`${seed} insertion ${file.path}`, random.integer(1, insertedBytesMax));
  const at = random.integer(0, file.bytes);
  const content = (): Buffer => {
    const before = file.content();
    return Buffer.concat([before.subarray(0, at), insertion, before.subarray(at)]);
  };
  return { path: file.path, bytes: file.bytes + insertion.length, content };
}

async function writeAll(files: readonly SmallFile[], signal: AbortSignal): Promise<void> {
  for (const file of files) await writeFile(file.path, file.content(), { signal });
}

/** Blocks of text and of random bytes in turn. */
async function append(path: string, label: string, bytes: number, signal: AbortSignal): Promise<void> {
  await using file: FileHandle = await open(path, 'a');
  for (let at = 0, block = 0; at < bytes; at += blockBytes, block++) {
    signal.throwIfAborted();
    const make = block % 2 === 0 ? textLike : randomBytes;
    await file.writeFile(make(`${label} ${block}`, Math.min(blockBytes, bytes - at)));
  }
}

/** The key stream of AES: as incompressible as chance, and faster than a disk. */
function randomBytes(label: string, bytes: number): Buffer {
  const key = createHash('sha256').update(label).digest();
  return createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16)).update(Buffer.alloc(bytes));
}

const wordCount = 4096;
const wordsPerLine = 12;
const vocabulary = makeVocabulary();

/** Made-up words in lines, the first of the vocabulary more often than the last; gzip makes it two fifths. */
function textLike(label: string, bytes: number): Buffer {
  // A word and the space behind it have 3 bytes or more, and two bytes choose it.
  const choices = randomBytes(label, bytes + 2);
  const text = Buffer.allocUnsafe(bytes);
  for (let at = 0, word = 0; at < bytes; word++) {
    const choice = ((choices[2 * word]! << 8) | choices[2 * word + 1]!) / 2 ** 16;
    const letters = vocabulary[Math.floor(choice ** 3 * wordCount)]!;
    for (let letter = 0; letter < letters.length && at < bytes; letter++) text[at++] = letters[letter]!;
    if (at < bytes) text[at++] = word % wordsPerLine === wordsPerLine - 1 ? 0x0a : 0x20;
  }
  return text;
}

/** The same for every seed: a language does not change from tree to tree. */
function makeVocabulary(): Buffer[] {
  const random = seededRandom(1).fork('vocabulary');
  const letters = [...'eeeeettttaaaooinshrdlucmfwypvbgk'];
  return Array.from({ length: wordCount }, () => {
    const word = Array.from({ length: random.integer(2, 10) }, () => random.pick(letters));
    return Buffer.from(word.join(''));
  });
}
