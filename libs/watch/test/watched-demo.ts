/** A demo with its page, for tests: what it says, what it prints, and its buttons. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';

export interface WatchedDemo extends AsyncDisposable {
  readonly url: string;
  /** What it has printed so far. */
  printed(): string;
  /** Resolves when it has said so. */
  says(words: string): Promise<void>;
  /** What came of a button. */
  press(this: void, ...words: readonly string[]): Promise<string>;
  /** As Ctrl-C; its exit code and signal. */
  interrupt(): Promise<unknown[]>;
}

/** The demo of the app in this folder. */
export async function watchDemo(directory: string): Promise<WatchedDemo> {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  const demo = spawn(process.execPath, ['src/main.ts', 'demo', '--watch'], { cwd: directory, stdio });
  const exit = once(demo, 'exit');
  let printed = '';
  demo.stdout.on('data', (part: Buffer) => (printed += part.toString()));
  const lines = createInterface(demo.stderr)[Symbol.asyncIterator]();
  const line = async (words: string): Promise<string> => {
    const told: string[] = [];
    for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
      if (next.value.includes(words)) return next.value;
      told.push(next.value);
    }
    throw new Error(`${basename(directory)} ended and did not say "${words}":\n${told.join('\n')}`);
  };
  const url = /http:\S+/.exec(await line('watch it: '))![0];
  return {
    url,
    printed: () => printed,
    says: async (words) => void (await line(words)),
    async press(...words) {
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${url}break`, { method: 'POST', headers, body: JSON.stringify({ words }) });
      return answer.text();
    },
    interrupt() {
      demo.kill('SIGINT');
      return exit;
    },
    async [Symbol.asyncDispose]() {
      demo.kill('SIGKILL');
      await exit;
    },
  };
}
