/** A disk that takes its time, as those of laptops and of clouds do: every commit waits for it. */
import { eventually } from '@lab/testing';
import { query } from './assignment-log.ts';

/** From when it resolves on, each commit of the server waits for so many milliseconds, 100 at the most; several wait together. With 0 it is as before. */
export async function slowCommits(url: string, ms: number): Promise<void> {
  const settings = { fsync: ms > 0 ? 'on' : 'off', commit_siblings: '0', commit_delay: String(ms * 1_000) };
  for (const [name, value] of Object.entries(settings)) await query(url, `ALTER SYSTEM SET ${name} = ${value}`);
  await query(url, 'SELECT pg_reload_conf()');
  await eventually(async () => {
    const [row] = await query<{ commit_delay: string }>(url, 'SHOW commit_delay');
    return row?.commit_delay === settings.commit_delay;
  });
}
