/** All settings of the system, in one place; passed in by main.ts from flags and the environment. Clients' are those of their commands. */
import { address, demoSettings, duration, roleSettings } from '@lab/process';
import { z } from 'zod';
import { placesOf } from './store/database.ts';
import { isPassword, nameRule, normalName, passwordRule, typedName } from './domain/names.ts';

const nameSettingOf = (nameOf: (text: string) => string | undefined) =>
  z.string().transform((text, context) => {
    const name = nameOf(text);
    if (name === undefined) context.addIssue({ code: 'custom', message: nameRule });
    return name ?? z.NEVER;
  });

/** Of users and areas, as it was typed: there may be one from before the rule, which only agents and nodes know. */
export const nameSetting = nameSettingOf(typedName);
/** Of agents and nodes. */
const roleNameSetting = nameSettingOf(normalName);

export const agentsSetting = z.array(address).min(1);

const process = {
  databaseUrl: z
    .string()
    .refine(
      (text) => placesOf(text) !== undefined,
      'postgres://USER:PASSWORD@HOST:PORT[,HOST:PORT…]/DATABASE; a password with @ or / in it belongs into DATABASE_PASSWORD',
    )
    .default('postgres://lab:lab@127.0.0.1:5432/lab')
    .describe('where PostgreSQL is; of several hosts, the one that takes writes'),
  databasePassword: z.string().optional().describe("the user's password there, as it is; without it that of the URL"),
  tlsKey: z.string().optional().describe('private key in PEM: clients, agents and nodes speak TLS; without it they do not'),
  tlsCertificate: z.string().optional().describe('its certificate in PEM, the same for all agents and nodes; clients trust it'),
  ...roleSettings,
};

export const agentConfig = z.object({
  listen: address.default('0.0.0.0:8000').describe('where clients and nodes are taken'),
  name: roleNameSetting.optional().describe("what the agent is called; default this machine's name"),
  adminName: nameSetting.default('admin').describe('the first administrator, made when there is no such user'),
  adminPassword: z
    .string()
    .refine(isPassword, passwordRule)
    .optional()
    .describe("the first administrator's password; without it none is made"),
  session: duration({ min: 1_000, max: 365 * 86_400_000 })
    .prefault('12h')
    .describe('how long a session is good for'),
  ...process,
});
export type AgentConfig = z.infer<typeof agentConfig>;

export const nodeConfig = z.object({
  listen: address.default('0.0.0.0:9000').describe('where clients are taken'),
  healthListen: address
    .default('0.0.0.0:0')
    .describe('where agents ask whether the node is well; 0 for any free port, which they are told'),
  host: z.string().optional().describe('where clients find the node; default the address that it speaks to agents from'),
  name: roleNameSetting.optional().describe("what the node is called; default this machine's name"),
  agents: agentsSetting.default(['127.0.0.1:8000']).describe('where agents are; a name may stand for several'),
  lease: duration({ min: 100, max: 3_600_000 }).prefault('10s').describe('how long unread items are held for who reads them'),
  ...process,
});
export type NodeConfig = z.infer<typeof nodeConfig>;

export const demoConfig = z.object({ ...demoSettings });
export type DemoConfig = z.infer<typeof demoConfig>;
