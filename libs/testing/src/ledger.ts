/** The ledger of a load: what `npx nx load APP` writes each second, and what shows it reads. */
import { z } from 'zod';

/** In the folder of the app. */
export const ledgerFile = 'tmp/load.json';

const verdict = z.object({
  promise: z.string(),
  /** Null: not judged yet. */
  kept: z.boolean().nullable(),
  /** How much was checked, and what exactly is missing. */
  detail: z.string(),
});

/** How a promise stands. */
export type Verdict = Readonly<z.infer<typeof verdict>>;

export const ledger = z.object({
  version: z.literal(1),
  /** Of the load, and of this state of it, in ms since 1970. */
  startedMs: z.number(),
  atMs: z.number(),
  state: z.enum(['working', 'checking', 'done']),
  /** Operations, by what became of them. */
  counts: z.record(z.string(), z.int().min(0)),
  promises: z.array(verdict),
});
export type Ledger = z.infer<typeof ledger>;
