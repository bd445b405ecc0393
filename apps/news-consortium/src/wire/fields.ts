/** What fields of requests may hold: the rules of domain/names.ts, and a refusal's sentence where they do not. */
import { z } from 'zod';
import { isPassword, meantName, nameRule, passwordRule, textProblem, type OldNames } from '../domain/names.ts';

/** A name as it is stored, where there are these old ones. */
export const nameAmong = (old: OldNames) =>
  z.string().transform((text, context) => {
    const meant = meantName(text.slice(0, 1000), old);
    if (meant === undefined) context.addIssue({ code: 'custom', message: `${quoted(text)} is no name: ${nameRule}` });
    return meant ?? z.NEVER;
  });
export type NameSchema = ReturnType<typeof nameAmong>;
export const noNames: OldNames = new Map();

/** What somebody sent, as a refusal may say it. */
export const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

export const password = z.string().refine(isPassword, `a password has ${passwordRule}`);
export const text = z.string().superRefine((value, context) => {
  const problem = textProblem(value);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});
export const token = z.string().max(2048);
/** Chosen by the client, one for each thing that it wants done: its repeats are known by it. */
export const key = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[\x21-\x7e]+$/, 'a key has 1 to 100 printable ASCII characters, no space');
export const number = z.int().min(1);
/** A bigint, as text. */
export const id = z.string().regex(/^\d{1,18}$/);
