/**
 * The other end of a measurement, in a process of its own so that its memory can be read: `ours FOLDER` is a registry and three servers on memory's group and broker, `bare FOLDER` a grpc-js
 * server that does nothing but hash, write and sync what comes, and stream what is asked for. Prints its addresses as JSON.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerReadableStream,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { makeMemoryGroups } from '@lab/group';
import { makeMemoryServer } from '@lab/middleware';
import { makeLogger, systemClock } from '@lab/process';
import { freePort } from '@lab/testing';
import { channelOptions } from '../src/grpc/channels.ts';
import { PictureStore } from '../src/store/picture-store.ts';
import { defaultNames, topologyOf } from '../src/topology.ts';
import { makeRegistry, makeServer } from '../src/wiring.ts';
import { bareService, chunkBytesDown } from './bare.ts';

const [kind, folder = '.'] = process.argv.slice(2);

const freeAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

async function ours(): Promise<object> {
  const groups = makeMemoryGroups({ clock: systemClock, newToken: randomUUID });
  const broker = makeMemoryServer().connect();
  await broker.declare(topologyOf(defaultNames));
  const store = await PictureStore.open(folder);
  const log = makeLogger({ name: 'bench', level: 'error' });
  const host = () => ({ group: groups.connect(), clock: systemClock, nowMs: Date.now, newId: randomUUID, log });
  const registry = await freeAddress();
  await makeRegistry(host(), { listen: registry, name: 'registry', group: 'images' }).start();
  const servers: string[] = [];
  for (const name of ['svc-1', 'svc-2', 'svc-3']) {
    const listen = await freeAddress();
    const limits = { limitBytes: 4 * 1024 ** 3, limitMegapixels: 100 };
    await makeServer(
      { ...host(), store, broker },
      { ...defaultNames, ...limits, name, group: 'images', listen, address: () => listen },
    ).start();
    servers.push(listen);
  }
  return { registry, servers };
}

async function bare(): Promise<object> {
  const server = new Server({ ...channelOptions, 'grpc.max_receive_message_length': -1 });
  let files = 0;
  server.addService(bareService, {
    upload(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      const run = async (): Promise<Buffer> => {
        const handle = await open(join(folder, `bare-${files++}`), 'w');
        const hash = createHash('sha256');
        for await (const chunk of call as AsyncIterable<Buffer>) {
          hash.update(chunk);
          await handle.write(chunk);
        }
        await handle.sync();
        await handle.close();
        return hash.digest();
      };
      run().then((digest) => done(null, digest), done);
    },
    download(call: ServerWritableStream<Buffer, Buffer>) {
      const run = async (): Promise<void> => {
        for await (const chunk of createReadStream(call.request.toString(), { highWaterMark: chunkBytesDown })) {
          if (!call.write(chunk as Buffer)) await once(call, 'drain');
        }
        call.end();
      };
      run().catch((error: Error) => call.destroy(error));
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { servers: [`127.0.0.1:${port}`] };
}

process.stdout.write(`${JSON.stringify(kind === 'ours' ? await ours() : await bare())}\n`);
