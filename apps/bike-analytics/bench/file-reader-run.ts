/** One run of the file-reader, from a data set to a running entry point: prints its time, CPU and peak memory. */
import { connectFramed } from '@lab/protocol';
import { runClient } from '../src/client/program.ts';
import { defaultSettings } from '../src/domain/queries.ts';
import { clientLimits, fileReaderConfig } from '../src/config.ts';

const config = fileReaderConfig.parse({ data: process.argv[2], entryPoint: process.argv[3] });
const [host = '', port] = config.entryPoint.split(':');
const cpuBefore = process.cpuUsage();
const { elapsedMs } = await runClient({
  ...config,
  settings: defaultSettings,
  connect: () => connectFramed({ host, port: Number(port), limits: clientLimits }),
});
const cpu = process.cpuUsage(cpuBefore);
console.log(
  JSON.stringify({
    seconds: elapsedMs / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakMb: process.resourceUsage().maxRSS / 1024,
  }),
);
