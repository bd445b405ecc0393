import { ConfigError, readConfig } from '@lab/process';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import {
  clientConfigs,
  configuratorConfig,
  demoConfig,
  groupAddress,
  registryConfig,
  serverConfig,
  workerConfig,
} from './config.ts';

const read = <S extends z.ZodObject>(schema: S, args: string, env: Record<string, string> = {}): z.infer<S> =>
  readConfig(schema, { args: args.split(' ').filter((arg) => arg !== ''), env });

function problemsOf(schema: z.ZodObject, args: string): string {
  try {
    read(schema, args);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.join('\n');
  }
  return 'none';
}

describe('the settings of a role', () => {
  it('have defaults for all but its name and the folder', () => {
    expect(read(registryConfig, '')).toMatchObject({ listen: '0.0.0.0:8000', name: 'registry', group: 'images' });
    expect(read(serverConfig, '--name svc-1 --store /s')).toMatchObject({
      listen: '0.0.0.0:9001',
      limitBytes: 2 ** 31,
      limitMegapixels: 100,
    });
    expect(read(workerConfig, '--name worker-1 --store /s')).toMatchObject({ jobs: 2, queue: 'image-tagging.worker.jobs' });
    expect(read(configuratorConfig, '')).toMatchObject({ exchange: 'images', routingKey: 'tag' });
    expect(read(demoConfig, '--keep')).toEqual({ keep: true, watch: false });
  });

  it('come from the environment, but for what a flag says', () => {
    const env = { NAME: 'svc-2', STORE: '/env', LISTEN: '[::]:9002', GROUP: 'spread://daemon:4803/pictures' };
    expect(read(serverConfig, '--store /flag', env)).toMatchObject({
      ...{ name: 'svc-2', store: '/flag', listen: '[::]:9002', group: 'spread://daemon:4803/pictures' },
    });
  });

  it.each([
    [serverConfig, '--store /s', '--name (or NAME) is required'],
    [serverConfig, '--store /s --name worker-1', 'a name that begins with svc'],
    [serverConfig, '--store /s --name svc-123456789', '1 to 10 characters'],
    [serverConfig, '--store /s --name svc-1 --listen 9001', 'HOST:PORT'],
    [serverConfig, '--store /s --name svc-1 --listen h:70000', 'HOST:PORT, with a port up to 65535'],
    [serverConfig, '--store /s --name svc-1 --limit-bytes 0', '--limit-bytes (or LIMIT_BYTES) is "0"'],
    [serverConfig, '--store /s --name svc-1 --limit-bytes many', '--limit-bytes (or LIMIT_BYTES) is "many": expected a number'],
    [workerConfig, '--store /s --name 1', 'beginning with a letter'],
    [workerConfig, '--store /s --name w --jobs 65', '--jobs (or JOBS) is "65"'],
    [registryConfig, '--group a/b', 'NAME or spread://HOST:4803/NAME'],
    [registryConfig, '--group spread://h/images', 'NAME or spread://HOST:4803/NAME'],
    [registryConfig, '--session-timeout 0s', '--session-timeout (or SESSION_TIMEOUT) is "0s"'],
  ])('%# are refused in words: %s %s', (schema, args, sentence) => expect(problemsOf(schema, args)).toContain(sentence));

  it('are refused all at once', () => {
    expect(problemsOf(serverConfig, '--listen x --limt-bytes 5').split('\n')).toEqual([
      'there is no --limt-bytes; did you mean --limit-bytes?',
      expect.stringContaining('--listen (or LISTEN) is "x": HOST:PORT'),
      expect.stringContaining('--name (or NAME) is required'),
      expect.stringContaining('--store (or STORE) is required'),
    ]);
  });
});

describe('the settings of a client', () => {
  it('take what a command is about without a flag', () => {
    expect(read(clientConfigs.upload, 'a.jpg --keywords lake,boats --keywords hill')).toMatchObject({
      ...{ file: 'a.jpg', keywords: ['lake', 'boats', 'hill'], registry: '127.0.0.1:8000', patience: 60_000, json: false },
    });
    expect(read(clientConfigs.upload, '--keywords lake a.jpg --json')).toMatchObject({ file: 'a.jpg', json: true });
    expect(read(clientConfigs.download, 'someid --original --to there')).toMatchObject({
      id: 'someid',
      to: 'there',
      original: true,
    });
    expect(read(clientConfigs.search, 'lake boats')).toMatchObject({ keyword: ['lake', 'boats'] });
  });

  it('do not come from the environment', () => {
    expect(read(clientConfigs.list, '', { REGISTRY: 'h:1', JSON: 'true' })).toMatchObject({
      registry: '127.0.0.1:8000',
      json: false,
    });
  });

  it.each([
    [clientConfigs.upload, 'a.jpg', '--keywords is required'],
    [clientConfigs.upload, '--keywords a', 'FILE is required'],
    [clientConfigs.upload, 'a.jpg b.jpg --keywords a', '"b.jpg" is not expected here'],
    [clientConfigs.download, '', 'ID is required'],
    [clientConfigs.search, '', 'KEYWORD... is required'],
    [clientConfigs.list, '--patience 0s', '--patience is "0s"'],
    [clientConfigs.list, 'lake', '"lake" is not expected here'],
  ])('%# are refused in words: %s %s', (schema, args, sentence) => expect(problemsOf(schema, args)).toContain(sentence));
});

describe('a group', () => {
  it('is on RabbitMQ and ZooKeeper, or of a Spread daemon', () => {
    expect(groupAddress('images')).toEqual({ name: 'images', daemon: undefined });
    expect(groupAddress('spread://10.0.0.1:4803/pics')).toEqual({ name: 'pics', daemon: '10.0.0.1:4803' });
  });
});
