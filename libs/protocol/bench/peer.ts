/** The other end of the bench, in a process of its own: echoes frames, by our library or by a hand-rolled loop. Prints its port, as text: a number gets a colour where colours are forced. */
import { createServer, type AddressInfo } from 'node:net';
import { listenFramed } from '../src/index.ts';
import { RawFrames, rawHighWaterMark } from './raw.ts';

if (process.argv[2] === 'framed') {
  const server = await listenFramed({ host: '127.0.0.1', port: 0 }, async (socket) => {
    for await (const frame of socket) await socket.send(frame);
  });
  console.log(String(server.port));
} else {
  const server = createServer({ highWaterMark: rawHighWaterMark, noDelay: true }, (socket) => {
    const frames = new RawFrames(socket, (payload) => {
      if (!frames.send(payload)) socket.pause();
    });
    socket.on('drain', () => socket.resume());
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1', () => console.log(String((server.address() as AddressInfo).port)));
}
