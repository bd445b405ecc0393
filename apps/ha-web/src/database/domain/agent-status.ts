/** What a db-agent believes, as `GET /status` on its port gives it to the status page, as JSON. */
export interface AgentStatus {
  /** Of its machine: `db-1`. */
  readonly name: string;
  readonly role: 'primary' | 'replica' | 'fenced' | 'starting';
  /** Of the record in ZooKeeper that it has seen last; 0 before the first. */
  readonly epoch: number;
  /** The last that the data know of. */
  readonly dataEpoch: number;
  /** The machine that the record names. */
  readonly primary: string | undefined;
  /** What the record says: whether the other one may be promoted. */
  readonly replicaInSync: boolean;
  /** Of a replica that receives and applies: age of the oldest transaction that it has received and not applied. */
  readonly lagMs: number | undefined;
  /** Sequence number of the last transaction that it has committed. */
  readonly position: number | undefined;
  readonly readOnly: boolean;
  /** Of the running server; another after each start. */
  readonly bootId: string | undefined;
  /** Newest first, at most 50. */
  readonly events: readonly AgentEvent[];
}

/** A takeover that was asked for takes seconds; after this it is not tried anymore, and whoever asked is told so. */
export const takeoverMs = 15_000;

export interface AgentEvent {
  /** Milliseconds since 1970, by the agent's clock. */
  readonly at: number;
  readonly text: string;
}
