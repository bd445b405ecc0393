/** A MariaDB of a test, of the version that the database machines have, with the application's account and its empty database. */
import { hostname } from 'node:os';
import { freePort } from '@lab/testing';
import { Container } from '@lab/testing/containers';
import { run } from '../../../docker/engine.ts';
import { appImage } from '../../../docker/images.ts';

const setUp = `
CREATE DATABASE marketplace;
CREATE USER 'app'@'%' IDENTIFIED BY 'app';
GRANT ALL ON marketplace.* TO 'app'@'%';
CREATE DATABASE ha;
CREATE TABLE ha.epochs (epoch INT PRIMARY KEY);
GRANT SELECT ON ha.epochs TO 'app'@'%';
`;
// Statements of --init-file stand on a line each; those that run again after a restart would fail and end the server.
const start = `
set -e
mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld
rm -f /var/lib/mysql/init.sql
if [ ! -e /var/lib/mysql/ready ]; then
  rm -rf /var/lib/mysql/*
  mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db > /dev/null
  printf '%s' "$SET_UP" > /var/lib/mysql/init.sql
  chown mysql:mysql /var/lib/mysql/init.sql
  touch /var/lib/mysql/ready
  set -- --init-file=/var/lib/mysql/init.sql
fi
exec mariadbd --user=mysql --bind-address=0.0.0.0 --skip-name-resolve --log-bin=bin --innodb-buffer-pool-size=32M "$@"
`;

export class MariadbServer extends Container implements AsyncDisposable {
  /** Stays the same through `kill` and `start`. */
  readonly port: number;
  constructor(id: string, port: number) {
    super(id);
    this.port = port;
  }

  /** What is in a table, asked beside the application. */
  async query(statement: string): Promise<string[][]> {
    const output = await run('docker', [
      'exec',
      this.id,
      'mariadb',
      '--batch',
      '--skip-column-names',
      'marketplace',
      '-e',
      statement,
    ]);
    return output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('docker', ['rm', '--force', '--volumes', this.id]);
  }
}

/** Resolves when the application's account can log in. */
export async function startMariadb(name = 'db-1'): Promise<MariadbServer> {
  const port = await freePort();
  const health = ['--health-cmd', 'mariadb -h 127.0.0.1 -uapp -papp marketplace -e "SELECT 1"', '--health-interval', '500ms'];
  const options = [
    '--detach',
    '--init',
    '--user',
    'root',
    '--hostname',
    name,
    '--label',
    `lab.test-owner=${hostname()}:${process.pid}`,
  ];
  const shell = [
    '--env',
    `SET_UP=${setUp}`,
    '--publish',
    `127.0.0.1:${port}:3306`,
    '--entrypoint',
    'sh',
    await appImage('ha-web'),
    '-c',
    start,
  ];
  const id = (await run('docker', ['run', ...options, ...health, ...shell])).trim();
  const server = new MariadbServer(id, port);
  await server.healthy();
  return server;
}
