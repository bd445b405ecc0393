/** What all members know: the servers, with what each has to do, and the pictures. Changed by events only, in the group's order. */

/** Names of servers begin so, as in the original: by that the others know who may lead. */
export const serverNamePrefix = 'svc';

export interface Picture {
  readonly id: string;
  readonly fileName: string;
  readonly bytes: number;
  /** In hex, as everywhere here. */
  readonly sha256: string;
  readonly keywords: readonly string[];
  readonly mediaType: string;
  readonly width: number;
  readonly height: number;
  readonly uploadedMs: number;
  readonly state: 'pending' | 'tagged' | 'failed';
  /** Why it failed. */
  readonly reason?: string;
  readonly tagged?: TaggedFile;
}

/** What a worker made. */
export interface TaggedFile {
  /** In the picture's folder. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** As it was uploaded, before any worker has seen it. */
export type Upload = Omit<Picture, 'state' | 'reason' | 'tagged'>;

export type CatalogEvent =
  | { readonly type: 'server-started'; readonly address: string }
  /** So many clients are being served by the sender now. */
  | { readonly type: 'clients-counted'; readonly count: number }
  | { readonly type: 'picture-uploaded'; readonly upload: Upload }
  | { readonly type: 'picture-tagged'; readonly id: string; readonly tagged: TaggedFile }
  | { readonly type: 'picture-failed'; readonly id: string; readonly reason: string }
  /** Nothing happened: whoever sends it knows, when it comes back, all that came before. */
  | { readonly type: 'asked' };

/** A member of the group, as the group names it. */
export interface MemberName {
  readonly id: string;
  readonly name: string;
}

export interface ServerEntry {
  readonly id: string;
  readonly name: string;
  /** `undefined` until it has told. */
  readonly address: string | undefined;
  readonly activeClients: number;
}

/** What became of an upload that was told: it is `new`, it was `known`, or the id belongs to another. */
export type UploadOutcome = 'new' | 'known' | 'conflict';

interface Saved {
  readonly pictures: readonly Picture[];
  readonly servers: readonly ServerEntry[];
}

export class Catalog {
  #pictures = new Map<string, Picture>();
  #pending = new Set<string>();
  #byKeyword = new Map<string, Set<string>>();
  #servers = new Map<string, ServerEntry>();

  apply(event: CatalogEvent, sender: MemberName): UploadOutcome | undefined {
    switch (event.type) {
      case 'server-started':
        this.#setServer(sender, { address: event.address });
        return undefined;
      case 'clients-counted':
        this.#setServer(sender, { activeClients: event.count });
        return undefined;
      case 'picture-uploaded':
        return this.#upload(event.upload);
      case 'picture-tagged':
        this.#finish(event.id, { state: 'tagged', tagged: event.tagged });
        return undefined;
      case 'picture-failed':
        this.#finish(event.id, { state: 'failed', reason: event.reason });
        return undefined;
      case 'asked':
        return undefined;
    }
  }

  /** Who is gone takes its entry along, and with it the clients that it had. */
  viewChanged(members: readonly MemberName[]): void {
    for (const id of this.#servers.keys()) if (!members.some((member) => member.id === id)) this.#servers.delete(id);
  }

  picture(id: string): Picture | undefined {
    return this.#pictures.get(id);
  }

  get pictureCount(): number {
    return this.#pictures.size;
  }

  /** Ids of pictures that no worker has finished, oldest first. */
  get pending(): readonly string[] {
    return [...this.#pending];
  }

  servers(): readonly ServerEntry[] {
    return [...this.#servers.values()];
  }

  /** Pictures with all of the keywords (in any case of letters), or all; newest first, at most `limit`, those before the picture `after`. */
  list(keywords: readonly string[], limit: number, after?: string): { pictures: Picture[]; more: boolean } {
    const sets = keywords.map((keyword) => this.#byKeyword.get(folded(keyword)) ?? new Set<string>());
    const smallest = sets.reduce<Iterable<string>>(
      (least, set) => (least instanceof Set && least.size <= set.size ? least : set),
      this.#pictures.keys(),
    );
    const found = [...smallest].filter((id) => sets.every((set) => set.has(id))).map((id) => this.#pictures.get(id)!);
    found.sort(newestFirst);
    const from = after === undefined ? 0 : found.findIndex(({ id }) => id === after) + 1;
    return { pictures: found.slice(from, from + limit), more: found.length > from + limit };
  }

  snapshot(): Saved {
    return { pictures: [...this.#pictures.values()], servers: this.servers() };
  }

  restore(saved: Saved | undefined): void {
    this.#pictures = new Map();
    this.#pending = new Set();
    this.#byKeyword = new Map();
    for (const picture of saved?.pictures ?? []) this.#add(picture);
    this.#servers = new Map((saved?.servers ?? []).map((server) => [server.id, server]));
  }

  #setServer({ id, name }: MemberName, change: Partial<ServerEntry>): void {
    this.#servers.set(id, { ...{ id, name, address: undefined, activeClients: 0 }, ...this.#servers.get(id), ...change });
  }

  #upload(upload: Upload): UploadOutcome {
    const known = this.#pictures.get(upload.id);
    if (known !== undefined) return isSameUpload(known, upload) ? 'known' : 'conflict';
    this.#add({ ...upload, state: 'pending' });
    return 'new';
  }

  #add(picture: Picture): void {
    const { id, keywords, state } = picture;
    this.#pictures.set(id, picture);
    if (state === 'pending') this.#pending.add(id);
    for (const keyword of keywords) {
      const key = folded(keyword);
      const ids = this.#byKeyword.get(key);
      if (ids === undefined) this.#byKeyword.set(key, new Set([id]));
      else ids.add(id);
    }
  }

  /** The first result counts; a second worker's is the same work done twice. */
  #finish(id: string, result: Pick<Picture, 'state' | 'reason' | 'tagged'>): void {
    const picture = this.#pictures.get(id);
    if (picture?.state !== 'pending') return;
    this.#pictures.set(id, { ...picture, ...result });
    this.#pending.delete(id);
  }
}

type Sent = Pick<Upload, 'bytes' | 'sha256' | 'keywords'>;

/** Whether two uploads with one id are tries of the same. */
export function isSameUpload(one: Sent, other: Sent): boolean {
  return one.bytes === other.bytes && one.sha256 === other.sha256 && one.keywords.join('\n') === other.keywords.join('\n');
}

const folded = (keyword: string): string => keyword.normalize('NFC').toLowerCase();

function newestFirst(one: Picture, other: Picture): number {
  return other.uploadedMs - one.uploadedMs || (one.id < other.id ? -1 : 1);
}
