/** A hundred clients at once, each with the small data set that comes with the app: prints their time, CPU and peak memory. */
import { join } from 'node:path';
import { runClient } from '../test/client-run.ts';

const [host = '', port] = process.argv[3]!.split(':');
const data = join(import.meta.dirname, '../data');
const startMs = performance.now();
await Promise.all(Array.from({ length: 100 }, () => runClient({ host, port: Number(port) }, { data })));
const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
console.log(
  JSON.stringify({
    seconds: (performance.now() - startMs) / 1000,
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
    peakMb: maxRSS / 1024,
  }),
);
