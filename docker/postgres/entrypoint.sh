#!/bin/bash
# Makes the database where there is none, and becomes its server: https://www.postgresql.org/docs/15/runtime-config.html
set -euo pipefail
# Until the server takes its place, this shell is the container's first process, and that one ignores what it has no trap for.
trap exit INT

database=/data/postgresql
# A secret of Docker's is a file.
[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")

settings=(
  listen_addresses='*'
  # After a crash the log is replayed from the last checkpoint. So much of it, or so long, at most lies between two: a replay takes a second or two.
  # The defaults are 1 GB and 5 minutes.
  max_wal_size=256MB
  checkpoint_timeout=1min
  # A client's machine that has died, or whose cable was pulled, says nothing. After 5 s of silence it is asked each second, and given up after
  # the third: its transaction is rolled back and its locks are free 8 s later, not after 2 hours.
  tcp_keepalives_idle=5
  tcp_keepalives_interval=1
  tcp_keepalives_count=3
  # The same when the server was just sending to it, in ms: nobody is asked then, and the system would send again for a quarter of an hour.
  tcp_user_timeout=8000
  # While it works for a client, or waits for a lock, a server does not look at the connection. So often it does, instead of never: whoever died in
  # a queue does not get the lock.
  client_connection_check_interval=1s
)

# Under another name until it is complete: what a kill leaves half-made is never taken for a database.
make_database() {
  local new=$database.new
  rm -rf "$new"
  initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
    --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  # By a server without a socket: no health check and no client can take it for the one that is to come.
  [ "$POSTGRES_DB" = postgres ] ||
    postgres --single -D "$new" -c exit_on_error=on postgres <<<"CREATE DATABASE \"${POSTGRES_DB//\"/\"\"}\"" >/dev/null
  mv "$new" "$database"
  # The new name must be on the disk before the first commit is.
  sync /data
}

[ -d "$database" ] || make_database
exec postgres -D "$database" "${settings[@]/#/--}" "$@"
