import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { DumpFacts } from './source.ts';

const line = "-- SET GLOBAL gtid_slave_pos='0-7-42';\n";

async function factsOf(dump: string, chunkChars: number): Promise<DumpFacts> {
  const facts = new DumpFacts(() => 17);
  const chunks = dump.match(new RegExp(`[^]{1,${chunkChars}}`, 'g')) ?? [];
  expect(await text(Readable.from(chunks.map((chunk) => Buffer.from(chunk))).pipe(facts))).toBe(dump);
  return facts;
}

describe('DumpFacts', () => {
  it('finds the position wherever it stands, and not in text of a client', async () => {
    const rows = `INSERT INTO orders VALUES (1,'Rua B\\n-- SET GLOBAL gtid_slave_pos=\\'0-9-9\\';');\n`.repeat(50);
    for (const dump of [`-- a dump\n${line}${rows}`, `-- a dump\n${rows}${line}-- Dump completed\n`])
      for (const chunkChars of [10, 64, 100_000])
        expect(await factsOf(dump, chunkChars)).toMatchObject({ position: '0-7-42', takenMs: 17 });
    expect((await factsOf(`-- a dump\n${rows}`, 64)).position).toBeUndefined();
  });
});
