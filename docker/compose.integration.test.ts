import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { composeUp } from './compose.ts';
import { run } from './engine.ts';
import { serviceImage } from './images.ts';

const service = (image: string): string => `services:
  role:
    image: ${image}
    entrypoint: [bash, -c, 'sleep 3; echo "--solvers is 2: runs once" >&2; exit 2']
    healthcheck: { test: [CMD, 'true'], interval: 1s }
    restart: always
    environment: { HEALTH_PORT: 8080 }
`;

it('up fails where a role ends at every start, and says what the role said', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'lab-compose-'));
  const env = { ...process.env, COMPOSE_PROJECT_NAME: `lab-compose-${process.pid}` };
  await writeFile(join(directory, 'compose.yaml'), service(await serviceImage('rabbitmq')));
  try {
    await expect(composeUp(directory, env)).rejects.toThrow(/role-1 does not become ready; .*\n--solvers is 2: runs once/s);
  } finally {
    await run('docker', ['compose', 'down', '--volumes', '--timeout', '1'], { cwd: directory, env });
    await rm(directory, { recursive: true });
  }
});
