/** The services as generated, with the faster way for chunks. */
import { DownloadResponse, ImagesService, RegistryService, UploadRequest } from '../generated/lab/images/v1/images.ts';
import { decodeChunk, encodeChunk } from './chunks.ts';

type Part = { part?: { $case: string; value: unknown } | undefined };

const encoded = <T extends Part>(generated: (value: T) => Buffer) => {
  return (value: T): Buffer => (value.part?.$case === 'chunk' ? encodeChunk(value.part.value as Uint8Array) : generated(value));
};

const decoded = <T extends Part>(generated: (bytes: Buffer) => T) => {
  return (bytes: Buffer): T => {
    const value = decodeChunk(bytes);
    if (value !== undefined) return { part: { $case: 'chunk', value } } as unknown as T;
    try {
      return generated(bytes);
    } catch {
      // A message that nobody can read has no part; whoever expects one says so. gRPC itself would call it a failure of the server.
      return { part: undefined } as unknown as T;
    }
  };
};

export const imagesService = {
  ...ImagesService,
  upload: {
    ...ImagesService.upload,
    requestSerialize: encoded<UploadRequest>(ImagesService.upload.requestSerialize),
    requestDeserialize: decoded<UploadRequest>(ImagesService.upload.requestDeserialize),
  },
  download: {
    ...ImagesService.download,
    responseSerialize: encoded<DownloadResponse>(ImagesService.download.responseSerialize),
    responseDeserialize: decoded<DownloadResponse>(ImagesService.download.responseDeserialize),
  },
};

export const registryService = RegistryService;
