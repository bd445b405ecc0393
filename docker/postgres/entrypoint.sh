#!/bin/bash
# Makes a server or a monitor where there is none, and becomes its keeper: https://pg-auto-failover.readthedocs.io
set -euo pipefail
# Until the keeper takes its place, this shell is the container's first process, and that one ignores what it has no trap for.
trap exit INT
kind=$1 name=$2
[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")

# With it servers log in to the monitor and to each other, and the monitor to them. In this file ":" and "\" end words.
password=${POSTGRES_PASSWORD//\\/\\\\}
(umask 077 && echo "*:*:*:*:${password//:/\\:}" >~/.pgpass)
# Of processes of a container that was killed. Numbers come again, and one with such a number is taken for them.
rm -rf "$XDG_RUNTIME_DIR/pg_autoctl" "$PGDATA/postmaster.pid"

# Without a server, so that nobody comes in before there is a password.
give_password() {
  postgres --single -D "$PGDATA" -c exit_on_error=on "$1" <<<"ALTER ROLE $2 PASSWORD '${POSTGRES_PASSWORD//\'/\'\'}'" >/dev/null
}

# A kill half-way leaves no file "made": what is there is completed.
make_it() {
  # Who may come is in the samples; what is said between these machines is not secret from who can listen there.
  local options=(--hostname "$name" --skip-pg-hba --no-ssl)
  if [ "$kind" = monitor ]; then
    pg_autoctl create monitor "${options[@]}"
    give_password pg_auto_failover autoctl_node
  else
    pg_autoctl create postgres "${options[@]}" --name "$name" --username lab --dbname lab \
      --monitor "postgres://autoctl_node@$3:5432/pg_auto_failover"
    # Less than primary_demote_timeout: whoever hears neither monitor nor standby has ended before another one is made the primary.
    pg_autoctl config set timeout.network_partition_timeout 4
    # A standby has them from its primary.
    [ -e "$PGDATA/standby.signal" ] || for user in lab pgautofailover_replicator pgautofailover_monitor; do give_password lab $user; done
  fi
  touch /data/made
  # Its name must be on the disk before the first commit is.
  sync /data
}

[ -e /data/made ] || make_it "$@"
exec pg_autoctl run
