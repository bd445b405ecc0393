/** Settings of the machines, and of a balancer's programs. */
import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { agentConfig } from './config-database.ts';

const address = z.string().refine(isIPv4, 'an IPv4 address');
const port = z.coerce.number().int().min(1).max(65_535);
const logLevel = z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged');
const name = z.string().regex(/^[a-z0-9-]{1,63}$/, 'lower-case letters, digits and hyphens');

const named = (what: string) => z.array(z.string().regex(/^[a-z0-9-]+=\S+:\d{1,5}$/, what));

/** What a machine needs that has a share in a floating address. */
const floating = {
  name: name.describe('of this machine'),
  peerAddress: address.describe('of the other machine that may hold the floating address, on the same network'),
  floatingAddress: address.describe('the one that moves'),
};

export const balancerMachineConfig = z.object({
  ...floating,
  externalAddress: address.describe("this machine's own, on the network that is reached from outside"),
  priority: z.coerce
    .number()
    .int()
    .min(61)
    .max(254)
    .describe('of two balancers that can serve the greater holds the floating address'),
  logLevel,
});
export type BalancerMachineConfig = z.infer<typeof balancerMachineConfig>;

export const databaseMachineConfig = z.object({
  ...floating,
  internalAddress: address.describe("this machine's own, on the internal network"),
  // As the programs of the machine have them.
  primaryFile: agentConfig.shape.primaryFile,
  presenceFile: agentConfig.shape.presenceFile,
  logLevel,
});
export type DatabaseMachineConfig = z.infer<typeof databaseMachineConfig>;

/** Machines that need no settings of their own: their programs read theirs. */
export const plainMachineConfig = z.object({ logLevel });
export type PlainMachineConfig = z.infer<typeof plainMachineConfig>;

export const lbSyncConfig = z.object({
  zookeeper: z
    .string()
    .regex(/^[\w.-]+:\d+(,[\w.-]+:\d+)*$/, 'HOST:PORT,HOST:PORT')
    .default('127.0.0.1:2181')
    .describe("ZooKeeper's servers"),
  logLevel,
});
export type LbSyncConfig = z.infer<typeof lbSyncConfig>;

export const statusConfig = z.object({
  name: name.describe('of this machine'),
  externalAddress: address.default('127.0.0.1').describe('where the page is served'),
  statusPort: port.default(8404).describe('port of the page'),
  floatingAddress: address.describe('the one that the active balancer holds'),
  balancers: named('NAME=HOST:PORT each').default([]).describe('the balancers and where their status is asked'),
  databases: named('NAME=HOST:PORT each').default([]).describe('the databases and where their agents tell their status'),
  zookeeper: lbSyncConfig.shape.zookeeper,
  logLevel,
});
export type StatusConfig = z.infer<typeof statusConfig>;
