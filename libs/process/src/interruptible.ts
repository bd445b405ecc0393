/** Work that Ctrl-C ends and that cleans up behind itself: a demo, a client's long command. */
import { ExitError, exitCodeOfSignal } from './exit-codes.ts';
import { echoMs, type OsProcess, type StopSignal } from './run-process.ts';

/**
 * Does work that ends itself when its signal is aborted, which SIGINT and SIGTERM do: by `interrupted.throwIfAborted()` between its steps, and by
 * handing the signal on to what waits. So its `finally` blocks run. Then this rejects with an `ExitError`, 130 or 143; work that is done all the
 * same counts as done. A second signal ends the process at once, whatever is left behind.
 */
export async function interruptible<T>(work: (interrupted: AbortSignal) => Promise<T>, os: OsProcess = process): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  let exitCode = 0;
  let signalledMs = 0;
  const onSignal = (name: unknown): void => {
    if (signal.aborted) {
      if (performance.now() - signalledMs > echoMs) os.exit(exitCode);
      return;
    }
    exitCode = exitCodeOfSignal(name as StopSignal);
    signalledMs = performance.now();
    controller.abort(new ExitError('interrupted', exitCode));
  };
  for (const name of ['SIGINT', 'SIGTERM']) os.on(name, onSignal);
  try {
    return await work(signal);
  } catch (error) {
    throw signal.aborted ? new ExitError('interrupted', exitCode, { cause: error }) : error;
  } finally {
    for (const name of ['SIGINT', 'SIGTERM']) os.off(name, onSignal);
  }
}
