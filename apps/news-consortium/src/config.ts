/** All settings of the system, in one place; passed in by main.ts from flags and the environment. Clients' commands have flags only. */
import { z } from 'zod';
import { isPassword, nameRule, normalName, parseItemName, passwordRule } from './domain/names.ts';
import { nodesMax } from './messages.ts';

/** `60`, `60s`, `1500ms`, `2m`, `12h`, `7d`, as milliseconds. */
const duration = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+(\.\d+)?(ms|s|m|h|d)?$/, 'a number of seconds, or a number with ms, s, m, h or d behind it')
    .transform((text) => Number.parseFloat(text) * unitMs[/[a-z]+$/.exec(text)?.[0] ?? 's']!)
    .refine((ms) => ms >= min && ms <= max, `from ${min / 1000} s to ${max / 1000} s`);
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const address = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[^:\s]+):\d{1,5}$/i, { error: 'HOST:PORT', abort: true })
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'HOST:PORT, with a port up to 65535');

const name = z
  .string()
  .refine((text) => normalName(text) !== undefined, nameRule)
  .transform((text) => normalName(text)!);

const agents = z.array(address).min(1);

const process = {
  databaseUrl: z
    .string()
    .regex(/^postgres(ql)?:\/\/./, 'postgres://USER:PASSWORD@HOST:PORT/DATABASE')
    .default('postgres://lab:lab@127.0.0.1:5432/lab')
    .describe('where PostgreSQL is'),
  healthPort: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe('port of /healthz and /metrics; without it there are none'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged'),
};

export const agentConfig = z.object({
  listen: address.default('0.0.0.0:8000').describe('where clients and nodes are taken'),
  name: name.optional().describe("what the agent is called; default this machine's name"),
  adminName: name.default('admin').describe('the first administrator, made when there is no such user'),
  adminPassword: z
    .string()
    .refine(isPassword, passwordRule)
    .optional()
    .describe("the first administrator's password; without it none is made"),
  session: duration(1_000, 365 * 86_400_000)
    .prefault('12h')
    .describe('how long a session is good for'),
  ...process,
});
export type AgentConfig = z.infer<typeof agentConfig>;

export const nodeConfig = z.object({
  listen: address.default('0.0.0.0:9000').describe('where clients are taken'),
  host: z.string().optional().describe('where clients find the node; default the address that it speaks to agents from'),
  name: name.optional().describe("what the node is called; default this machine's name"),
  agents: agents.default(['127.0.0.1:8000']).describe('where agents are; a name may stand for several'),
  lease: duration(100, 3_600_000).prefault('10s').describe('how long unread items are held for who reads them'),
  ...process,
});
export type NodeConfig = z.infer<typeof nodeConfig>;

export const demoConfig = z.object({});

// Client.

const client = {
  agents: agents.optional().describe('where agents are, any will do; default those of the last login, or 127.0.0.1:8000'),
  patience: duration(1_000, 3_600_000).prefault('30s').describe('how long to go on trying while nobody answers'),
  sessionFile: z.string().optional().describe('file that keeps the session; default ~/.lab-news-consortium/session'),
  json: z.boolean().default(false).describe('answer for programs'),
};
const flagsOnly = <S extends z.ZodRawShape>(shape: S, operand?: keyof S & string) =>
  z.object({ ...shape, ...client }).meta({ environment: false, ...(operand !== undefined && { operand }) });

const area = name.describe('of the area');
const password = z
  .string()
  .optional()
  .describe('others on this machine may see it; without it you are asked, or the first line of standard input is taken');
const nodes = z.coerce.number().int().min(1).max(nodesMax);
const words = z.array(z.string()).transform(([first = '', ...text], context) => {
  const area = normalName(first);
  if (area === undefined) context.addIssue({ code: 'custom', message: `first comes the area: ${nameRule}` });
  else if (text.length === 0) context.addIssue({ code: 'custom', message: 'behind the area comes the text' });
  return { area: area ?? '', text: text.join(' ') };
});
const item = z.string().transform((text, context) => {
  const parsed = parseItemName(text);
  if (parsed === undefined) context.addIssue({ code: 'custom', message: 'an item is named as it is shown: sports/42' });
  return parsed ?? z.NEVER;
});

export const clientConfigs = {
  register: flagsOnly({ name: name.describe('of the new user'), password }, 'name'),
  login: flagsOnly({ name: name.describe('of the user'), password }, 'name'),
  plain: flagsOnly({}),
  area: flagsOnly({ area }, 'area'),
  areaAdd: flagsOnly({ name: name.describe('of the area'), nodes: nodes.default(1).describe('how many nodes serve it') }, 'name'),
  areaSet: flagsOnly({ name: name.describe('of the area'), nodes: nodes.describe('how many nodes serve it') }, 'name'),
  areaRemove: flagsOnly({ name: name.describe('of the area') }, 'name'),
  promote: flagsOnly({ name: name.describe('of the user who becomes an administrator') }, 'name'),
  post: flagsOnly(
    {
      words: words.describe('the area, and the text: sports It rains'),
      key: z.string().optional().describe('posts of one user with one key are one; default made by chance'),
    },
    'words',
  ),
  delete: flagsOnly({ item: item.describe('as it is shown: sports/42') }, 'item'),
  read: flagsOnly(
    {
      area,
      unread: z.boolean().default(false).describe('only what is unread; it is marked as read when it was printed'),
      last: z.coerce.number().int().min(1).optional().describe('only the newest so many'),
    },
    'area',
  ),
  watch: flagsOnly({ area: z.array(name).default([]).describe('areas; default all that you are subscribed to') }, 'area'),
};
export type ClientConfig = z.infer<typeof clientConfigs.plain>;
