/** A system of its own for each test of a file. */
import { createHash } from 'node:crypto';
import { afterEach } from 'vitest';
import { System, type SystemOptions } from './system.ts';

export const keywords = ['lake', 'boats'];
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Of the test that is running. */
export let system: System;

export async function start(options?: SystemOptions): Promise<void> {
  system = await System.start(options);
}

/** Of a test file: the system ends with its test. */
export function systemForEach(): void {
  afterEach(() => system[Symbol.asyncDispose]());
}
