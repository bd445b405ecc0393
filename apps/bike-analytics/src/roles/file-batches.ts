import type { Batch, Rejections, TableReader } from '@lab/columns';

/** A batch as it is sent. */
export interface SentBatch extends Batch {
  /** Bytes of the file that were read by then. */
  bytesRead: number;
}

/** A file as batches, in order, to be gone through once; opened again, it gives the same ones. It may read ahead, until it is disposed of. */
export interface FileBatches extends AsyncDisposable {
  /** Size of the file. */
  bytes: number;
  batches: AsyncIterable<SentBatch>;
  /** What was not taken of the file; complete when the batches are through. */
  rejections(): Rejections;
}

/** Reads chunks of a file into batches. */
export function readBatches(bytes: number, chunks: AsyncIterable<Uint8Array>, reader: TableReader): FileBatches {
  async function* batches(): AsyncGenerator<SentBatch> {
    let bytesRead = 0;
    for await (const chunk of chunks) {
      bytesRead += chunk.byteLength;
      for (const batch of reader.push(chunk)) yield { ...batch, bytesRead };
    }
    for (const batch of reader.end()) yield { ...batch, bytesRead };
  }
  return { bytes, batches: batches(), rejections: () => reader.rejections, [Symbol.asyncDispose]: async () => {} };
}
