/** Where all programs find each other: ZooKeeper. */
import { connectZookeeper, type Discovery } from '@lab/discovery';
import type { Logger } from '@lab/process';

/** With ticks of 200 ms in ZooKeeper a dead machine's announcement is gone after 2.2 s. */
const sessionTimeoutMs = 2_000;
/** The longest that a timer takes: 25 days. */
const patientMs = 2 ** 31 - 1;

/** For as long as it takes: ZooKeeper being away stops nothing that works. */
export const connectDiscovery = (servers: string, log: Logger): Promise<Discovery> =>
  connectZookeeper({ servers, sessionTimeoutMs, connectTimeoutMs: patientMs, log });
