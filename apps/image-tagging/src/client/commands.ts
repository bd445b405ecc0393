/** The client's commands. Results go to stdout, one line or one JSON value each; what is going on goes to stderr. */
import { command, commandGroup, pathError, type Command } from '@lab/process';
import { bytesText, startBar, tableText, type Bar } from '@lab/process/terminal';
import { clientConfigs, type ClientConfig } from '../config.ts';
import { ImageState, type Image } from '../generated/lab/images/v1/images.ts';
import type { PictureClient, Progress } from './picture-client.ts';

type Print = (text: string) => void;

export function clientCommands(print: Print): Command {
  const line = (text: string): void => print(`${text}\n`);
  const json = (value: unknown): void => line(JSON.stringify(value));
  return commandGroup({
    summary: 'uploads, downloads and finds pictures',
    commands: {
      upload: command({
        summary: 'uploads a picture; one that was uploaded before is not stored again',
        settings: clientConfigs.upload,
        run: (settings) =>
          withClient(settings, async (client) => {
            const { file, keywords, key } = settings;
            const uploaded = await withBar('uploading', (onProgress) => client.upload(file, keywords, key, onProgress));
            const { id, known, bytes, tries } = uploaded;
            if (settings.json) return json(uploaded);
            line(`${id}  ${bytesText(bytes)}${known ? ', was there already' : ''}${tries > 1 ? `, after ${tries} tries` : ''}`);
          }),
      }),
      download: command({
        summary: 'downloads a picture: tagged, or as it was uploaded while it is not',
        settings: clientConfigs.download,
        run: (settings) =>
          withClient(settings, async (client) => {
            const { id, to, original } = settings;
            const { path, image, tagged, bytes, sha256 } = await withBar('downloading', (onProgress) =>
              client.download(id, to, original, onProgress),
            );
            if (settings.json) return json({ path, tagged, bytes, sha256, image: plain(image) });
            line(
              `${path}  ${bytesText(bytes)}, ${tagged ? 'tagged' : original ? 'the original' : `the original: ${whyOriginal(image)}`}`,
            );
          }),
      }),
      status: command({
        summary: 'what is known of a picture',
        settings: clientConfigs.status,
        run: (settings) =>
          withClient(settings, async (client) => {
            const image = plain(await client.status(settings.id));
            if (settings.json) return json(image);
            for (const [name, value] of Object.entries(image))
              line(`${name.padEnd(13)} ${Array.isArray(value) ? value.join(', ') : value}`);
          }),
      }),
      search: command({
        summary: 'pictures with all of the keywords',
        settings: clientConfigs.search,
        run: (settings) => withClient(settings, (client) => showList(client, settings.keyword, settings.json, line)),
      }),
      list: command({
        summary: 'all pictures, newest first',
        settings: clientConfigs.list,
        run: (settings) => withClient(settings, (client) => showList(client, [], settings.json, line)),
      }),
      servers: command({
        summary: 'the servers, and how many clients each has',
        settings: clientConfigs.servers,
        run: (settings) =>
          withClient(settings, async (client) => {
            const servers = await client.servers();
            if (settings.json) return json(servers);
            for (const { name, address, activeClients, leader } of servers)
              line(`${name}  ${address}  ${activeClients} client${activeClients === 1 ? '' : 's'}${leader ? '  leads' : ''}`);
          }),
      }),
    },
  });
}

async function withClient(settings: ClientConfig, run: (client: PictureClient) => Promise<void>): Promise<void> {
  // Loaded when it is needed: gRPC takes longer to load than `--help` to print.
  const { PictureClient } = await import('./picture-client.ts');
  const told = new Set<string>();
  const onRetry = (reason: string): void => {
    if (!told.has(reason)) process.stderr.write(`trying again: ${reason}\n`);
    told.add(reason);
  };
  const client = new PictureClient({ registry: settings.registry, patienceMs: settings.patience, onRetry });
  try {
    await run(client);
  } catch (error) {
    // A file or folder of this machine.
    if (error instanceof Error && 'syscall' in error) throw pathError(error);
    throw error;
  } finally {
    client.close();
  }
}

async function withBar<T>(what: string, run: (onProgress: Progress) => Promise<T>): Promise<T> {
  let bar: { readonly of: string; readonly bar: Bar } | undefined;
  const show = (done: number, total: number, of: string = what): void => {
    if (bar?.of !== of) {
      bar?.bar.stop();
      bar = { of, bar: startBar(of, total) };
    }
    bar.bar.to(done, total);
  };
  try {
    return await run(show);
  } finally {
    bar?.bar.stop();
  }
}

async function showList(client: PictureClient, keywords: readonly string[], asJson: boolean, line: Print): Promise<void> {
  const found: ReturnType<typeof plain>[] = [];
  for await (const image of client.list(keywords)) found.push(plain(image));
  if (asJson) return line(JSON.stringify(found));
  const rows = found.map(({ id, fileName, bytes, keywords: own, state }) => [
    id,
    fileName,
    bytesText(bytes),
    own.join(', '),
    state,
  ]);
  line(found.length === 0 ? 'no pictures' : tableText(['id', 'name', 'size', 'keywords', 'state'], rows));
}

const stateNames: Readonly<Record<number, string>> = {
  [ImageState.PENDING]: 'pending',
  [ImageState.TAGGED]: 'tagged',
  [ImageState.FAILED]: 'failed',
};

/** An image as people and programs read it. */
function plain({
  id,
  fileName,
  sizeBytes,
  sha256,
  keywords,
  state,
  reason,
  uploadedMs,
  width,
  height,
  taggedBytes,
  taggedSha256,
}: Image) {
  return {
    ...{ id, fileName, bytes: sizeBytes, sha256: sha256.toString('hex'), keywords, state: stateNames[state] ?? 'unknown' },
    uploaded: new Date(uploadedMs).toISOString(),
    ...(width > 0 && { width, height }),
    ...(reason !== '' && { reason }),
    ...(taggedBytes > 0 && { taggedBytes, taggedSha256: taggedSha256.toString('hex') }),
  };
}

const whyOriginal = ({ state, reason }: Image): string =>
  state === ImageState.FAILED ? `it cannot be tagged: ${reason}` : 'it is not tagged yet';
