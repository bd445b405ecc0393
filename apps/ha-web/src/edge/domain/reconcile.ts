/**
 * What has to change in HAProxy so that it has the servers that discovery lists.
 *
 * A server joins when it is listed. It leaves when it is not listed AND does not pass its checks; neither alone is enough. A server that withdraws
 * in good order answers its checks with 503 from then on, and leaves within two of them. One that is merely missing, because its announcer died, or
 * because the registry lost what it knew, goes on as long as it serves. And one that is listed may come back.
 *
 * A server is its address: whoever announces an address again, or twice, adds nothing.
 */

export interface HeldServer {
  readonly backend: string;
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** `maintenance` is reconciliation's own: of those that are not ready yet, and of those that leave. */
  readonly state: 'up' | 'down' | 'maintenance';
  /** It answered its last check with 503: alive, and on its way out. */
  readonly draining: boolean;
  /** Requests that it has in hand. */
  readonly requests: number;
}

export interface ListedServer {
  /** 1 to 64 letters, digits, hyphens, underscores and dots. */
  readonly name: string;
  readonly sequence: number;
  readonly address: string;
  readonly port: number;
}

export type Change =
  /** Makes it known; it is in maintenance then. */
  | { readonly kind: 'add'; readonly backend: string; readonly name: string; readonly address: string; readonly port: number }
  /** Out of maintenance, with checks. */
  | { readonly kind: 'enable'; readonly backend: string; readonly name: string }
  /** Into maintenance: nothing new goes there. `endRequests`: nor goes on what it has in hand. */
  | { readonly kind: 'disable'; readonly backend: string; readonly name: string; readonly endRequests: boolean }
  /** Of one in maintenance without requests. */
  | { readonly kind: 'remove'; readonly backend: string; readonly name: string };

/**
 * What a server that answers nothing has in hand is let go after so long. By then each read was given up by its own limit, 2.5 s from when it began, and was
 * repeated elsewhere: none began after the check that failed.
 */
const deadMs = 2_500;
/** What a server that drains has in hand may take this long: an order takes 8 s at most. */
const drainMs = 10_000;

/**
 * `listed` has the back ends of which the list is known; `downMs` says for how long a server has not passed its checks. Changes are to be made in this
 * order.
 */
export function reconcile(
  held: readonly HeldServer[],
  listed: ReadonlyMap<string, readonly ListedServer[]>,
  downMs: (server: HeldServer) => number,
): Change[] {
  return [...listed].flatMap(([backend, servers]) => {
    const byAddress = new Map(servers.map((server) => [addressOf(server), server]));
    const own = held.filter((server) => server.backend === backend);
    const known = new Set(own.map(addressOf));
    const joining = [...byAddress.values()].filter((server) => !known.has(addressOf(server)));
    return [
      ...joining.flatMap((server) => join(backend, server)),
      ...own.flatMap((server) => (byAddress.has(addressOf(server)) ? stay(server) : leave(server, downMs(server)))),
    ];
  });
}

const addressOf = ({ address, port }: HeldServer | ListedServer): string => `${address}:${port}`;

function join(backend: string, { name, sequence, address, port }: ListedServer): Change[] {
  const unique = `${name}.${sequence}`;
  return [
    { kind: 'add', backend, name: unique, address, port },
    { kind: 'enable', backend, name: unique },
  ];
}

/** In maintenance it was when a change was cut short, or when it was about to leave. */
function stay({ backend, name, state }: HeldServer): Change[] {
  return state === 'maintenance' ? [{ kind: 'enable', backend, name }] : [];
}

function leave({ backend, name, state, draining, requests }: HeldServer, downMs: number): Change[] {
  if (state === 'up') return [];
  if (state === 'maintenance' && requests === 0) return [{ kind: 'remove', backend, name }];
  const over = downMs >= (draining ? drainMs : deadMs);
  return requests === 0 || over ? [{ kind: 'disable', backend, name, endRequests: requests > 0 }] : [];
}

/** Whether this balancer could answer: every back end has a server that passes its checks. */
export function canServe(held: readonly HeldServer[], backends: readonly string[]): boolean {
  return backends.every((backend) => held.some((server) => server.backend === backend && server.state === 'up'));
}
