/** The wire contract inside of the system, as JSON: events that servers and workers tell the group, and jobs for workers. What clients say is in `proto/`. */
import { z } from 'zod';
import type { CatalogEvent } from './domain/catalog.ts';

const id = z.string().regex(/^[a-z2-7]{20}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().min(0);

export const uploadSchema = z.object({
  id,
  fileName: z.string(),
  bytes: count,
  sha256,
  keywords: z.array(z.string()),
  mediaType: z.string(),
  width: count,
  height: count,
  uploadedMs: count,
});

/** A name in the picture's folder, and no path. */
const taggedSchema = z.object({ name: z.string().regex(/^tagged-[a-z0-9-]+\.[a-z]+$/), bytes: count, sha256 });

/** What became of a picture, as a worker writes it beside it. */
export const resultSchema = z.union([z.object({ tagged: taggedSchema }), z.object({ reason: z.string() })]);
export type Result = z.infer<typeof resultSchema>;

const eventSchema: z.ZodType<CatalogEvent> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('server-started'), address: z.string() }),
  z.object({ type: z.literal('clients-counted'), count }),
  z.object({ type: z.literal('picture-uploaded'), upload: uploadSchema }),
  z.object({ type: z.literal('picture-tagged'), id, tagged: taggedSchema }),
  z.object({ type: z.literal('picture-failed'), id, reason: z.string() }),
  z.object({ type: z.literal('asked') }),
]);

const jobSchema = z.object({ id, keywords: z.array(z.string()) });
/** Published when a picture is stored; whoever takes it marks the picture with the keywords. */
export type TagPicture = z.infer<typeof jobSchema>;

const encode = (message: unknown): Buffer => Buffer.from(JSON.stringify(message));

export const encodeEvent = (event: CatalogEvent): Buffer => encode(event);
/** `undefined` for what is no event of this version. */
export const decodeEvent = (body: Buffer): CatalogEvent | undefined => eventSchema.safeParse(parsed(body)).data;
export const encodeJob = (job: TagPicture): Buffer => encode(job);
export const decodeJob = (body: Buffer): TagPicture | undefined => jobSchema.safeParse(parsed(body)).data;

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}

/** What becomes of a finished picture, as an event. */
export function resultEvent(pictureId: string, result: Result): CatalogEvent {
  return 'tagged' in result
    ? { type: 'picture-tagged', id: pictureId, tagged: result.tagged }
    : { type: 'picture-failed', id: pictureId, reason: result.reason };
}

/** In a few words, for traces and stories: job and event by what they are about, and an entry of the group's log by its number of whom. */
export function describeMessage(body: Uint8Array): string {
  const text = Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, 4096)).toString('latin1');
  const job = /^\{"id":"([a-z2-7]{20})"/.exec(text)?.[1];
  if (job !== undefined) return `job ${job}`;
  const event = /"type":"([a-z-]+)"(?:,"(?:count|id)":"?([^,"}]+)|.*?"id":"([a-z2-7]{20}))?/.exec(text);
  const [, kind, by, who, number] =
    /"kind":"([a-z]+)"(?:,"(sender|token|epoch)":"?([^,"}]+)"?)?(?:,"number":(\d+))?/.exec(text) ?? [];
  const what = event === null ? [kind ?? `${body.byteLength} bytes`] : [event[1], event[2] ?? event[3]];
  const entry = [who && `${by === 'epoch' ? 'in epoch' : 'of'} ${who}`, number && `#${number}`];
  return [...what, ...entry].filter(Boolean).join(' ');
}
