/** What a batch is, and what is counted in it. */

/** Distinct words of one job may be so long together: its answer is one message. */
const answerCharactersMax = 32 * 1024 * 1024;

export const wordsOf = (line: string): string[] => line.toLowerCase().match(/\p{L}+/gu) ?? [];

/** Parts a job's lines into batches of at most so many characters each; a longer line is a batch of its own. Nothing is one empty batch. */
export function batchesOf(lines: readonly string[], charactersMax: number): string[][] {
  const batches: string[][] = [[]];
  let left = charactersMax;
  for (const line of lines) {
    if (left < line.length && batches.at(-1)!.length > 0) {
      batches.push([]);
      left = charactersMax;
    }
    batches.at(-1)!.push(line);
    // The line's end counts, or empty lines would be free.
    left -= line.length + 1;
  }
  return batches;
}

/** Counts the words of the batches 0 to `total` - 1, each batch once however often it comes, and knows when all have come, in whatever order. */
export class WordCount {
  readonly #total: number;
  readonly #counts = new Map<string, number>();
  readonly #seen = new Set<number>();
  #characters = 0;

  constructor(total: number) {
    this.#total = total;
  }

  /** Throws a RangeError when the job has more distinct words than an answer can hold; it is never complete then. */
  add(number: number, lines: readonly string[]): void {
    if (this.#seen.has(number)) return;
    for (const word of lines.flatMap(wordsOf)) {
      const count = this.#counts.get(word) ?? 0;
      if (count === 0) this.#characters += word.length;
      this.#counts.set(word, count + 1);
    }
    if (this.#characters > answerCharactersMax) throw new RangeError(`more than ${answerCharactersMax} characters of words`);
    this.#seen.add(number);
  }

  get complete(): boolean {
    return this.#seen.size === this.#total;
  }

  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
