import type { DemoConfig } from './config.ts';
export async function demo(_: DemoConfig): Promise<void> {}
