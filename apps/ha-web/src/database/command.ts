/** Other people's programs: run to their end. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** What it prints. Rejects with what it said when it fails or takes longer. */
export async function run(file: string, args: readonly string[], timeoutMs: number): Promise<string> {
  const { stdout } = await execute(file, [...args], { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** Resolves when it has ended with 0; rejects with its name and the end of what it said on stderr. */
export async function ended(child: ChildProcess, name: string): Promise<void> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2_000)));
  const code = await new Promise<number | NodeJS.Signals | null>((resolve, reject) =>
    child.once('error', reject).once('close', (code, signal) => resolve(code ?? signal)),
  );
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${said.trim()}`);
}

/** Runs it with the text as its input. */
export async function feed(file: string, args: readonly string[], input: string): Promise<void> {
  const child = spawn(file, [...args], { stdio: ['pipe', 'ignore', 'pipe'] });
  // Where it ends early its error says more than the broken pipe.
  child.stdin.on('error', () => undefined).end(input);
  await ended(child, file);
}

/** Resolves when all have; rejects, when all have ended, with the first error of the order given: what broke says more than the pipes that broke with it. */
export async function inTurn(works: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(works);
  for (const work of works) await work;
}

/** For MariaDB's programs: on the command line others would see the password. */
export const environmentWith = (password: string): Record<string, string> => ({ PATH: '/usr/bin:/bin', MYSQL_PWD: password });
