/** Where a database machine keeps what. */
import { join } from 'node:path';

/** Both stand in deploy/mariadb.cnf. */
export const socketFile = '/run/mysqld/mysqld.sock';
export const pidFile = '/run/mysqld/mariadbd.pid';

export const foldersOf = (dataFolder: string) => ({
  /** MariaDB's own. */
  server: join(dataFolder, 'mysql'),
  /** What it was before it was last filled from the other database. */
  previous: join(dataFolder, 'mysql-previous'),
  /** Exists while nothing of value is in the server's folder. */
  emptyFile: join(dataFolder, 'empty'),
  /** Exists from when it was decided that the server is to be filled anew, until it was made new. */
  discardFile: join(dataFolder, 'discard'),
  /** Transactions that only this database had. */
  diverged: join(dataFolder, 'diverged'),
});
export type Folders = ReturnType<typeof foldersOf>;
