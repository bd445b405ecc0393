/** What a node is compared with: the same SQL behind a framed server that does nothing else. A request is `{"statement", "values"}`, a reply the first row. */
import { listenFramed } from '@lab/protocol';
import pg from 'pg';
import { connectionTo } from '../src/store/database.ts';
import { newsStatements } from '../src/store/news.ts';

const pool = new pg.Pool({ ...connectionTo(process.env['DATABASE_URL']!, 'bare'), max: 10 });

const server = await listenFramed({ host: '127.0.0.1', port: 0 }, async (socket) => {
  for await (const frame of socket) {
    const { statement, values } = JSON.parse(frame.toString()) as { statement: 'post' | 'read'; values: unknown[] };
    const { rows } = await pool.query<object>({ ...newsStatements[statement], values });
    await socket.send(Buffer.from(JSON.stringify(rows[0])));
  }
});
process.stdout.write(`${server.port}\n`);
