/** Settings of the web machines' programs. */
import { z } from 'zod';

const port = z.coerce.number().int().min(1).max(65_535);

const program = {
  name: z.string().optional().describe("what the machine is called; default its host's name"),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged'),
};

const serving = {
  listen: z.string().default('0.0.0.0').describe('address to listen at'),
  lameDuckMs: z.coerce
    .number()
    .int()
    .min(0)
    .max(60_000)
    // Two checks of the balancers, 200 ms each, that must fail; the rest is for a busy machine.
    .default(1_500)
    .describe('how long requests are taken after /health says that it drains'),
  ...program,
};

export const apiConfig = z.object({
  apiPort: port.default(8081).describe('port of the API'),
  databaseHost: z.string().default('127.0.0.1').describe('address of the primary database: the floating one'),
  databasePort: port.default(3306).describe('port of the database'),
  databaseUser: z.string().default('app').describe('account of the database'),
  databasePassword: z.string().default('app').describe('its password'),
  databaseName: z.string().default('marketplace').describe('database of the marketplace'),
  ...serving,
});
export type ApiConfig = z.infer<typeof apiConfig>;

export const frontendConfig = z.object({
  frontendPort: port.default(8080).describe('port of the page'),
  ...serving,
});
export type FrontendConfig = z.infer<typeof frontendConfig>;

export const announcerConfig = z.object({
  zookeeper: z.string().default('127.0.0.1:2181').describe('servers of discovery, HOST:PORT,HOST:PORT'),
  address: z
    .string()
    .optional()
    .describe('where balancers find this machine; default the address that it speaks to discovery from'),
  frontendPort: port.default(8080).describe('port of the page'),
  apiPort: port.default(8081).describe('port of the API'),
  ...program,
});
export type AnnouncerConfig = z.infer<typeof announcerConfig>;
