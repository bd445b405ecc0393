#!/bin/bash
# Makes a server or a monitor where there is none, and becomes its keeper: https://pg-auto-failover.readthedocs.io
set -euo pipefail
# Until the keeper takes its place, this shell is the container's first process, and that one ignores what it has no trap for.
trap exit INT
kind=$1 name=$2
secret=$(<"${POSTGRES_PASSWORD_FILE:?is the file with the password}")

# With it servers log in to the monitor and to each other, and the monitor to them. In this file ":" and "\" end words.
password=${secret//\\/\\\\}
(umask 077 && echo "*:*:*:*:${password//:/\\:}" >~/.pgpass)
# Of processes of a container that was killed. Numbers come again, and one with such a number is taken for them.
rm -rf "$XDG_RUNTIME_DIR/pg_autoctl" "$PGDATA/postmaster.pid"

# Without a server, so that nobody comes in before there is a password.
give_password() {
  postgres --single -D "$PGDATA" -c exit_on_error=on "$1" <<<"ALTER ROLE $2 PASSWORD '${secret//\'/\'\'}'" >/dev/null
}

# What the monitor of this address knows: whether anybody, whether a server of this name, and whether another one is the primary.
known_to() {
  psql "$1" --no-psqlrc -At -F ' ' -v name="$name" <<<"SELECT count(*) > 0, coalesce(bool_or(node_name = :'name'), false),
    coalesce(bool_or(node_is_primary AND node_name <> :'name'), false) FROM pgautofailover.get_nodes('default')"
}

# Its disk is new, and the monitor knows its name: what it had is with the other server, which it follows from now on. Until that takes writes, what it had
# may be nowhere else, and nothing is done.
forget_former_self() {
  for _ in {1..60}; do
    [ "$(known_to "$1")" != 't t t' ] || { pg_autoctl drop node --monitor "$1" --name "$name" --force && return; }
    sleep 1
  done
  echo "$name has no data any more, and no other server is the primary: give it its disk again, or start the other one" >&2
  exit 1
}

# Who is first begins with an empty cluster, the other one with a copy. It gets its name when it is complete: pg_autoctl would go on with half of one.
prepare() {
  case $(known_to "$1") in
    'f f f') [ -e "$PGDATA" ] || { rm -rf "$PGDATA.new" && initdb --pgdata="$PGDATA.new" --auth-local=trust >/dev/null && mv "$PGDATA.new" "$PGDATA"; } ;;
    't f '?) rm -rf "$PGDATA" "$XDG_CONFIG_HOME" "$XDG_DATA_HOME" ;;
    't t '?) [ -e "$XDG_DATA_HOME" ] || forget_former_self "$1" ;;
    *) exit 1 ;;
  esac
}

# A kill half-way leaves no file "made". A monitor is begun anew, as nobody was let in before; pg_autoctl completes a server, which others may know.
make_it() {
  # Who may come is in the samples; what is said between these machines is not secret from who can listen there.
  local options=(--hostname "$name" --skip-pg-hba --no-ssl)
  if [ "$kind" = monitor ]; then
    rm -rf "$PGDATA" "$XDG_CONFIG_HOME" "$XDG_DATA_HOME"
    pg_autoctl create monitor "${options[@]}"
    give_password pg_auto_failover autoctl_node
  else
    local monitor=postgres://autoctl_node@$3:5432/pg_auto_failover
    # Of two that are first at once the monitor takes one, and the other begins again, with a copy of that.
    for tries in {1..5}; do
      prepare "$monitor"
      ! pg_autoctl create postgres "${options[@]}" --name "$name" --username lab --dbname lab --monitor "$monitor" || break
      [ "$tries" != 5 ] || exit 1
    done
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
