/** What `mariadb-binlog -v` prints of a binary log. */

/** How many of the transactions that `mariadb-binlog -v` shows change more than the agents' own tables. */
export async function clientTransactions(
  lines: AsyncIterable<string> | Iterable<string>,
  agentsDatabase: string,
): Promise<number> {
  let transactions = 0;
  let counted = true;
  for await (const line of lines) {
    // A line of an event's own begins with its time. Whatever else begins with # may be a client's text.
    const begin = /^#\d{6} .*\tGTID \d+-\d+-\d+( ddl)?/.exec(line);
    if (begin) counted = false;
    const database = /^#\d{6} .*\tTable_map: `(\w+)`/.exec(line)?.[1];
    // Agents log no changes of tables themselves.
    const ofClient = begin?.[1] !== undefined || (database !== undefined && database !== agentsDatabase);
    if (counted || !ofClient) continue;
    transactions++;
    counted = true;
  }
  return transactions;
}
