/** Nodes as agents register them. Who serves what is decided elsewhere (deciding.ts). */
import type { Database, Deadline, Statement } from './database.ts';

const statements = {
  // An address serves one node: whatever was there before has ended.
  join: {
    name: 'join',
    text: `WITH before AS (DELETE FROM nodes WHERE address = $3 AND id <> $1::uuid RETURNING 1)
      INSERT INTO nodes (id, name, address) SELECT $1::uuid, $2, $3 FROM (SELECT count(*) FROM before) AS first
      ON CONFLICT (id) DO UPDATE SET address = excluded.address`,
  },
  leave: { name: 'leave', text: `UPDATE nodes SET leaving = true WHERE id = $1` },
} satisfies Record<string, Statement>;

export class Nodes {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  async join(node: { id: string; name: string; address: string }, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.join, [node.id, node.name, node.address], deadline);
  }

  /** Its areas go to others; when they have, it is gone from the list. */
  async leave(id: string, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.leave, [id], deadline);
  }
}
