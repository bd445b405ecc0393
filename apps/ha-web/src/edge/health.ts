/** How the announcer asks the servers of its own machine. */
import type { Health } from './roles/announcer.ts';

/** A server that is alive answers within some milliseconds, on a busy machine within some hundred. */
const answerMs = 900;

export async function askHealth(port: number): Promise<Health> {
  try {
    const { ok, body } = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(answerMs) });
    await body?.cancel();
    return ok ? 'serving' : 'refusing';
  } catch {
    return 'silent';
  }
}
