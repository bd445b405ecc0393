export { encodeFrame, encodeHeader, FrameDecoder, headerBytes } from './codec.ts';
export { connectFramed, listenFramed, type ConnectOptions, type FramedServer, type ListenOptions } from './connect.ts';
export * from './errors.ts';
export { FramedSocket } from './framed-socket.ts';
export { identityKey, identityOf, tlsByKey, tlsByKeys, type ClientKey, type ServerKeys } from './keys.ts';
export type { Limits } from './limits.ts';
