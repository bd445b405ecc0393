/**
 * Gives the memory of bytes back at once. They, and all else that is in their buffer, are read by nobody any more, and are gone. The collector would find
 * out in time, but V8 marks its whole heap for every 64 MiB of buffers that wait for it: where gigabytes pass, that is a third of the work. Small buffers
 * share one of `Buffer.poolSize`, and are left to it.
 */
export function release(bytes: ArrayBufferView): void {
  const { buffer } = bytes;
  const isShared = buffer.byteLength === 0 || buffer.byteLength === Buffer.poolSize;
  if (buffer instanceof ArrayBuffer && !isShared) buffer.transfer(0);
}
