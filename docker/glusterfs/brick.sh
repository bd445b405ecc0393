#!/bin/bash
# One brick, and the daemon that manages it. The container ends when one of them does. All that is done here can be done at every start, in any order of
# starts, and with the data of an earlier life.
set -euo pipefail
trap exit TERM INT

read -ra peers <<<"${GLUSTER_PEERS:?names the hosts of all bricks, such as \"gluster-1 gluster-2 gluster-3\"}"
volume=${GLUSTER_VOLUME:?names the volume}
brick=/bricks/$volume
state=/var/lib/glusterd
pid_file=/run/gluster/vols/$volume/$HOSTNAME${brick//\//-}.pid

if [[ " ${peers[*]} " != *" $HOSTNAME "* ]]; then
  echo "The hostname $HOSTNAME is not in GLUSTER_PEERS (${peers[*]}): set hostname and GLUSTER_PEERS alike" >&2
  exit 2
fi

settings=(
  # A write succeeds when a majority has it, and one brick alone is neither written nor read. Any two majorities share a brick: no split brain.
  cluster.quorum-type auto
  # After so many seconds a brick that hangs is left out, and a client that is cut off loses its locks. The defaults are 42.
  network.ping-timeout 3
  server.tcp-user-timeout 3
  server.keepalive-time 2
  server.keepalive-interval 1
  server.keepalive-count 2
  # So often, in seconds, a brick that is back is looked through for what it missed. The default is 600.
  cluster.heal-timeout 5
  # Files that are healed at once. The default is 1.
  cluster.shd-max-threads 4
  # A write returns when the bricks have it, not before: what a client dies with was never reported as written.
  performance.write-behind off
  # What one client has written the others see at once: nothing of a file is remembered on the client's side.
  performance.quick-read off
  performance.open-behind off
  performance.stat-prefetch off
  diagnostics.brick-log-level ERROR
  diagnostics.client-log-level ERROR
)

# A server's identity follows from its name.
uuid_of() { md5sum <<<"$1" | sed -E 's/(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'; }

# The trusted pool is written down before the daemon starts, instead of `gluster peer probe`: that needs an order of starts, and leaves the one who asked
# known by an address, which changes.
write_pool() {
  mkdir -p "$state/peers"
  local peer uuid
  for peer in "${peers[@]}"; do
    uuid=$(uuid_of "$peer")
    # 3: a member on both sides.
    [ "$peer" = "$HOSTNAME" ] || printf 'uuid=%s\nstate=3\nhostname1=%s\n' "$uuid" "$peer" >"$state/peers/$uuid"
  done
  # The version is that of the package, 10.x.
  [ -s "$state/glusterd.info" ] || printf 'UUID=%s\noperating-version=100000\n' "$(uuid_of "$HOSTNAME")" >"$state/glusterd.info"
}

knows_volume() { [[ $1 == *"Volume Name: $volume"* ]]; }

# Only when all answer and none knows the volume: a server that has lost its state is given it by the others, and would spoil its brick by trying.
create_volume() {
  local peer info
  for peer in "${peers[@]}"; do
    info=$(gluster --remote-host="$peer" volume info 2>/dev/null) || return
    ! knows_volume "$info" || return
  done
  gluster --mode=script volume create "$volume" replica "${#peers[@]}" "${peers[@]/%/:$brick}" force
}

# Started last, so a volume that is started is complete; and a step that was done before an interruption is not in the way of the next.
make_volume() {
  local info
  info=$(gluster volume info 2>/dev/null) || return
  [[ $info != *"Status: Started"* ]] || return 0
  knows_volume "$info" || create_volume || return
  gluster --mode=script volume set "$volume" "${settings[@]}" && gluster --mode=script volume start "$volume"
}

brick_runs() { [ -s "$pid_file" ] && kill -0 "$(<"$pid_file")" 2>/dev/null; }

# What a killed container leaves there names processes that are gone.
rm -rf /run/gluster/*
write_pool
glusterd --no-daemon --log-file=- --log-level=ERROR &
daemon=$!

# For the peers it waits as long as it takes; meanwhile the health check tells that nothing is served.
until brick_runs; do
  kill -0 "$daemon"
  [ "$HOSTNAME" != "${peers[0]}" ] || make_volume || true
  sleep 0.5
done
tail --pid="$(<"$pid_file")" -f /dev/null &
wait -n || true
echo "$brick or its daemon has ended" >&2
exit 1
