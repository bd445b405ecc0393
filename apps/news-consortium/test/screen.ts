/** A terminal that a test sits at: it types, and waits for what is shown. */
import { PassThrough, Writable } from 'node:stream';
import { eventually } from '@lab/testing';
import type { Streams } from '../src/client/terminal.ts';

export const keys = { enter: '\r', up: '\u001b[A', down: '\u001b[B', interrupt: '\u0003', end: '\u0004' } as const;

export class Screen implements Streams {
  readonly stdin: Streams['stdin'] & PassThrough;
  readonly stdout: Streams['stdout'];
  readonly stderr: Streams['stderr'];
  /** Everything that was shown, without what moves the cursor and sets colours. */
  shown = '';
  #seen = 0;

  constructor({ isTTY }: { isTTY: boolean }) {
    this.stdin = Object.assign(new PassThrough(), { isTTY });
    this.stdout = Object.assign(this.#output(), { isTTY });
    this.stderr = Object.assign(this.#output(), { isTTY });
  }

  /** Resolves when the text is shown, behind what was waited for before. */
  async shows(text: string): Promise<void> {
    await eventually(
      () => {
        const at = this.shown.indexOf(text, this.#seen);
        if (at < 0) throw new Error(`"${text}" does not come behind ${JSON.stringify(this.shown.slice(this.#seen))}`);
        this.#seen = at + text.length;
        return true;
      },
      { intervalMs: 5 },
    );
  }

  /** From where the text was shown last. */
  lastOf(text: string): string {
    return this.shown.slice(Math.max(0, this.shown.lastIndexOf(text)));
  }

  /** Resolves when more is shown than so many characters. */
  async grows(length: number): Promise<void> {
    await eventually(() => this.shown.length > length, { intervalMs: 5 });
  }

  type(text: string): void {
    this.stdin.write(text);
  }

  /** Types the answer when it is asked. */
  async answer(question: string, text: string): Promise<void> {
    await this.shows(question);
    this.type(`${text}${keys.enter}`);
  }

  /** As a process's own: it is not ended with what is piped into it. */
  #output(): Writable {
    const output = new Writable({
      write: (chunk: Buffer, _, done) => {
        this.shown += chunk.toString().replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '');
        done();
      },
    });
    return Object.assign(output, { end: () => output });
  }
}
