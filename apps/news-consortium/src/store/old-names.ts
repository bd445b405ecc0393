/** Names that were there before the rule of domain/names.ts: what a database says of them once, when it is migrated, and to whoever starts. */
import type pg from 'pg';
import { skeleton } from '../domain/confusables.ts';
import { mapped, normalName, type OldNames } from '../domain/names.ts';
import type { Database, Deadline, Statement } from './database.ts';

const kinds = ['users', 'areas'] as const;
type Kind = (typeof kinds)[number];

/** Notes which names are none by the rule, and what all look like; in the transaction of the migration. */
export async function noteOldNames(client: pg.Client): Promise<void> {
  for (const kind of kinds) {
    const { rows } = await client.query<{ name: string }>(`SELECT name FROM ${kind} ORDER BY id`);
    const names = rows.map(({ name }) => name);
    const skeletons = [...new Map(names.toReversed().map((name) => [skeleton(mapped(name)), name]))];
    await client.query(
      `UPDATE ${kind} k SET skeleton = s.skeleton FROM unnest($1::text[], $2::text[]) AS s (skeleton, name) WHERE k.name = s.name`,
      [skeletons.map(([each]) => each), skeletons.map(([, name]) => name)],
    );
    const spellings = [...spellingsOf(names)];
    await client.query(
      `INSERT INTO old_names (of, spelled, name) SELECT $1, spelled, name FROM unnest($2::text[], $3::text[]) AS s (spelled, name)`,
      [kind, spellings.map(([spelled]) => spelled), spellings.map(([, name]) => name)],
    );
  }
}

/** An old name may be spelled as it is, and as the rule would have it where that is no other's. */
function spellingsOf(names: readonly string[]): Map<string, string> {
  const taken = new Set(names);
  const old = names.filter((name) => normalName(name) !== name);
  const spellings = new Map(old.map((name) => [name, name]));
  for (const name of old) {
    const spelled = mapped(name);
    if (!taken.has(spelled)) spellings.set(spelled, name);
    taken.add(spelled);
  }
  return spellings;
}

export const statements = {
  // All of them, by whoever starts.
  read: { name: 'old-names', text: `SELECT of, spelled, name FROM old_names` },
} satisfies Record<string, Statement>;

export async function readOldNames(database: Database, deadline: Deadline): Promise<Record<Kind, OldNames>> {
  const rows = await database.run<{ of: Kind; spelled: string; name: string }>(statements.read, [], deadline);
  const of = (kind: Kind): OldNames => new Map(rows.filter((row) => row.of === kind).map(({ spelled, name }) => [spelled, name]));
  return { users: of('users'), areas: of('areas') };
}
