/** All settings of the system, in one place; passed in by main.ts from flags and the environment. Clients' commands have flags only. */
import { address, demoSettings, duration, rabbitmqUrl, roleSettings, wholeNumber } from '@lab/process';
import { z } from 'zod';
import { serverNamePrefix } from './domain/catalog.ts';
import { defaultNames } from './topology.ts';

const memberName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,9}$/, '1 to 10 characters of A-Z a-z 0-9 _ -, beginning with a letter: what Spread takes');
const serverName = memberName.refine(
  (text) => text.startsWith(serverNamePrefix),
  'a name that begins with svc: so the others know a server',
);

const groupPattern = /^(?:spread:\/\/(?<daemon>[^/\s]+:\d{1,5})\/)?(?<name>[A-Za-z][A-Za-z0-9_-]{0,9})$/;

/** `NAME`: on RabbitMQ and ZooKeeper. `spread://HOST:PORT/NAME`: of a Spread daemon. */
const group = z
  .string()
  .regex(groupPattern, 'NAME or spread://HOST:4803/NAME, the name with 1 to 10 characters of A-Z a-z 0-9 _ -')
  .default('images')
  .describe('group of servers, workers and registry: NAME, or spread://HOST:4803/NAME');

export interface GroupAddress {
  readonly name: string;
  /** Of Spread; without it the group is on RabbitMQ and ZooKeeper. */
  readonly daemon: string | undefined;
}

export function groupAddress(text: string): GroupAddress {
  const { daemon, name = '' } = groupPattern.exec(text)?.groups ?? {};
  return { name, daemon };
}

const name = (text: string) => z.string().min(1).max(200).describe(text);

const member = {
  group,
  rabbitmqUrl,
  zookeeper: z.string().default('127.0.0.1:2181').describe('where ZooKeeper is: HOST:PORT, or several with commas between'),
  sessionTimeout: duration({ min: 1_000, max: 60_000 })
    .prefault('4s')
    .describe('silence after which the group puts a member out'),
  ...roleSettings,
};
const store = z.string().describe('folder that all servers and workers share; made when missing');
const limitMegapixels = z.coerce.number().min(0.01).max(1_000).default(100).describe('pictures with more pixels are refused');

export const registryConfig = z.object({
  listen: address.default('0.0.0.0:8000').describe('where clients are taken'),
  name: memberName.default('registry').describe('what the registry is called in the group'),
  ...member,
});
export type RegistryConfig = z.infer<typeof registryConfig>;

export const serverConfig = z.object({
  listen: address.default('0.0.0.0:9001').describe('where clients are taken'),
  name: serverName.describe('what the server is called in the group: svc and something, as svc-1'),
  address: address.optional().describe("where clients find it; default this machine's name and the port of --listen"),
  store,
  exchange: name('where jobs are published').default(defaultNames.exchange),
  routingKey: name('what jobs are published with').default(defaultNames.routingKey),
  limitBytes: wholeNumber(1, Number.MAX_SAFE_INTEGER)
    .default(2 * 1024 ** 3)
    .describe('larger files are refused'),
  limitMegapixels,
  ...member,
});
export type ServerConfig = z.infer<typeof serverConfig>;

export const workerConfig = z.object({
  name: memberName.describe('what the worker is called in the group'),
  store,
  queue: name('where jobs come from').default(defaultNames.queue),
  jobs: wholeNumber(1, 64).default(2).describe('pictures at a time'),
  limitMegapixels,
  ...member,
});
export type WorkerConfig = z.infer<typeof workerConfig>;

export const configuratorConfig = z.object({
  rabbitmqUrl,
  exchange: name('is declared').default(defaultNames.exchange),
  queue: name('is declared, and bound to the exchange').default(defaultNames.queue),
  routingKey: name('is what it is bound with').default(defaultNames.routingKey),
});
export type ConfiguratorConfig = z.infer<typeof configuratorConfig>;

export const demoConfig = z.object({
  keep: z.boolean().default(false).describe('leave the folder with all pictures'),
  ...demoSettings,
});
export type DemoConfig = z.infer<typeof demoConfig>;

// Client.

const client = {
  registry: address.default('127.0.0.1:8000').describe('where the registry is'),
  patience: duration({ min: 1_000, max: 3_600_000 }).prefault('60s').describe('how long to go on trying while no server answers'),
  json: z.boolean().default(false).describe('answer for programs'),
};
const flagsOnly = <S extends z.ZodRawShape>(shape: S, operand?: keyof S & string) =>
  z.object({ ...shape, ...client }).meta({ environment: false, ...(operand !== undefined && { operand }) });
const id = z.string().describe('of the picture');

export const clientConfigs = {
  upload: flagsOnly(
    {
      file: z.string().describe('the picture: JPEG, PNG, WebP, GIF, TIFF or AVIF'),
      keywords: z.array(z.string()).describe('what to mark it with: a,b'),
      key: z
        .string()
        .optional()
        .describe('16 to 200 of A-Z a-z 0-9 . _ -; uploads with one key are one; default made of content, name and keywords'),
    },
    'file',
  ),
  download: flagsOnly(
    {
      id,
      to: z.string().default('.').describe('folder that gets the picture'),
      original: z.boolean().default(false).describe('as it was uploaded'),
    },
    'id',
  ),
  status: flagsOnly({ id }, 'id'),
  search: flagsOnly({ keyword: z.array(z.string()).describe('pictures with all of these') }, 'keyword'),
  list: flagsOnly({}),
  servers: flagsOnly({}),
};
export type ClientConfig = z.infer<typeof clientConfigs.list>;
