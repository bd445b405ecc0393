/** One embedded run over the data set named: prints time, CPU and peak memory of the whole process. */
import { connectFramed } from '@lab/protocol';
import { runClient } from '../src/client/program.ts';
import { defaultSettings, queries, type Answers } from '../src/domain/queries.ts';
import { clientLimits, demoConfig } from '../src/config.ts';
import { startEmbedded } from '../src/embedded.ts';

const config = demoConfig.parse({ data: process.argv[2] });
const { port, stop } = await startEmbedded(config);
const cpuBefore = process.cpuUsage();
const { elapsedMs, results } = await runClient({
  ...config,
  settings: defaultSettings,
  connect: () => connectFramed({ host: '127.0.0.1', port, limits: clientLimits }),
});
const cpu = process.cpuUsage(cpuBefore);
await stop();
for (const query of queries) console.error(query.show(results.answers[query.name as keyof Answers], defaultSettings).title);
console.log(
  JSON.stringify({
    seconds: elapsedMs / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakMb: process.resourceUsage().maxRSS / 1024,
  }),
);
