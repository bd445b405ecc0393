/** A system that is up, with a load on it, and its page in a real browser. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { launchBrowser } from '@lab/testing/chromium';
import type { Locator, Page } from 'playwright-core';

const root = join(import.meta.dirname, '../../..');

/** Most time that the engine may take for one thing. */
export const patience = { timeout: 60_000 };

/** Dispose of it (`await using`) and the system is down. */
export class LiveSystem implements AsyncDisposable {
  readonly app: string;
  /** What the browser complained of. */
  readonly complaints: string[] = [];
  /** The program that serves the page. */
  look!: ChildProcess;
  page!: Page;
  readonly #opened = new AsyncDisposableStack();

  private constructor(app: string) {
    this.app = app;
  }

  /** Starts it by the commands that its README has; `load` are flags of the load. */
  static async start(app: string, load: readonly string[]): Promise<LiveSystem> {
    const system = new LiveSystem(app);
    try {
      await system.#start(load);
      return system;
    } catch (error) {
      await system[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(load: readonly string[]): Promise<void> {
    this.#opened.defer(() => this.#run('down'));
    await this.#run('up');
    this.look = this.#begin('libs/watch/src/main.ts');
    const [printed] = (await once(this.look.stdout!, 'data')) as [Buffer];
    this.#begin(`apps/${this.app}/test/load.ts`, ...load).stdout!.resume();
    const browser = this.#opened.adopt(await launchBrowser(), (each) => each.close());
    const options = { viewport: { width: 1_440, height: 900 }, deviceScaleFactor: 0.75 };
    this.page = await (await browser.newContext(options)).newPage();
    this.page.on('pageerror', (error) => this.complaints.push(String(error)));
    this.page.on('console', (message) => void (message.type() === 'error' && this.complaints.push(message.text())));
    await this.page.goto(printed.toString().split('\n')[0]!);
  }

  get #directory(): string {
    return join(root, 'apps', this.app);
  }

  async #run(script: 'up' | 'down'): Promise<void> {
    const env = { ...process.env, LAB_TRACE: 'all' };
    await promisify(execFile)('npm', ['run', '--silent', script], { cwd: this.#directory, env });
  }

  /** A program in the folder of the app, which is interrupted at the end, as by Ctrl-C. */
  #begin(file: string, ...args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [join(root, file), ...args], {
      cwd: this.#directory,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#opened.defer(async () => {
      if (child.exitCode !== null) return;
      child.kill('SIGINT');
      await once(child, 'exit');
    });
    return child;
  }

  /** An instance on the map, in this state. */
  box(name: string, state: string): Locator {
    return this.page.getByRole('button', { name: new RegExp(`^${name}, ${state}`) });
  }

  /** The button that does this. */
  strike(verb: string, target: string): Locator {
    return this.page.getByRole('button', { name: new RegExp(`^${verb} ${target}: npx nx break ${this.app} ${verb} ${target}`) });
  }

  /** What the page says of the last that was done. */
  said(text: string): Locator {
    return this.page.locator('#break [role=status]').filter({ hasText: text });
  }

  async target(name: string): Promise<void> {
    await this.page.getByRole('combobox', { name: 'Target' }).selectOption({ label: name });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}
