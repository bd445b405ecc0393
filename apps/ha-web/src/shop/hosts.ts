/** Processes of the web machines: the frontend and the API. */
import { hostname } from 'node:os';
import { runRole } from '@lab/process';
import { ordinaryCost, Passwords } from '@lab/process/passwords';
import type { z } from 'zod';
import type * as config from '../config.ts';

import { standIns } from './stand-ins.ts';

/** Behind the lame-duck time comes what requests may take, 9 s; the rest is for a busy machine. */
const drainMs = (lameDuckMs: number): number => lameDuckMs + 10_000;

export const hosts = {
  api({ name = hostname(), logLevel, lameDuckMs, ...settings }: z.infer<typeof config.api>): Promise<number> {
    const options = { ...settings, name, logLevel, drainMs: drainMs(lameDuckMs) };
    return runRole(options, async ({ clock, log, tracer }) => {
      const { makeApi } = await import('./api.ts');
      const { listen: host, apiPort: port, databaseHost, databasePort, databaseUser, databasePassword, databaseName } = settings;
      return makeApi({
        ...{
          name,
          host,
          port,
          lameDuckMs,
          clock,
          log,
          tracer,
          services: standIns(Date.now),
          passwords: new Passwords(ordinaryCost),
        },
        mariadb: {
          host: databaseHost,
          port: databasePort,
          user: databaseUser,
          password: databasePassword,
          database: databaseName,
        },
      });
    });
  },

  frontend({ name = hostname(), logLevel, lameDuckMs, listen: host, frontendPort: port }: z.infer<typeof config.frontend>) {
    return runRole({ name, logLevel, drainMs: drainMs(lameDuckMs) }, async ({ clock, log }) => {
      const { makeFrontend } = await import('./frontend.ts');
      return makeFrontend({ name, host, port, lameDuckMs, clock, log });
    });
  },
};
