/** The checksum of a tree: by it a node knows whether the newest version is what it has, and a requester that a manifest came as it was sent. */
import { hashOf } from './bundle.ts';
import { checksumText, type Entry } from './domain/manifest.ts';

export const checksumOf = (entries: readonly Entry[]): string => hashOf(Buffer.from(checksumText(entries)));
