/** DuckDB's answers to the data set named, with two threads: prints time, CPU and peak memory. */
import { answerWithDuckdb } from '../test/oracle.ts';

const startMs = performance.now();
const cpuBefore = process.cpuUsage();
await answerWithDuckdb(process.argv[2]!, { threads: 2 });
const cpu = process.cpuUsage(cpuBefore);
console.log(
  JSON.stringify({
    seconds: (performance.now() - startMs) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakMb: process.resourceUsage().maxRSS / 1024,
  }),
);
