#!/bin/bash
# Mounts the volume that the roles share at /data, and runs a role on it as user `node`. Starts as root, with SYS_ADMIN and /dev/fuse.
# The container ends when the role ends, with its exit code, and when the mount does: a role without its files is killed, and a restart mounts anew.
set -euo pipefail
trap 'exit 143' TERM INT

read -ra servers <<<"${GLUSTER_SERVERS:?names the hosts of the bricks, such as \"gluster-1 gluster-2 gluster-3\"}"
volume=${GLUSTER_VOLUME:?names the volume}
# A mount takes 1 s, and 3 s more, the ping timeout, when a brick hangs.
limit_s=10

fail() {
  printf '{"level":60,"time":%s,"msg":"%s"}\n' "$(date +%s%3N)" "$1" >&2
  exit 1
}

# A volume that cannot be written refuses a change of owner. A mount whose server hangs stands too, and answers nothing.
writable() { grep -q " /data fuse.glusterfs " /proc/self/mounts && timeout --signal=KILL "$limit_s" chown node:node /data; }

# Whether the servers, of which the first is asked, gave a volume that can be written. Names and attributes are not remembered, so that each role sees
# at once what another has done.
mount_from() {
  glusterfs --no-daemon "${@/#/--volfile-server=}" --volfile-id="$volume" --log-file=/dev/stderr --log-level=ERROR \
    --attribute-timeout=0 --entry-timeout=0 /data &
  mount=$!
  local deadline_s=$((SECONDS + limit_s))
  until writable 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline_s" ] && kill -0 "$mount" 2>/dev/null || return
    sleep 0.2
  done
}

# One after the other: for the answer of one that hangs the client would wait for ever.
for first in "${!servers[@]}"; do
  mounted=false
  if mount_from "${servers[@]:first}" "${servers[@]:0:first}"; then mounted=true && break; fi
  kill -KILL "$mount" 2>/dev/null || true
  wait "$mount" 2>/dev/null || true
  umount --lazy /data 2>/dev/null || true
done
"$mounted" || fail "the volume $volume of ${servers[*]} cannot be mounted, or not be written: see whether two bricks are up"

HOME=/home/node setpriv --reuid=node --regid=node --init-groups --no-new-privs node src/main.ts "$@" &
role=$!
trap 'kill -TERM "$role"' TERM INT

# A wait that a signal interrupts names no process.
until
  status=0
  wait -n -p ended "$role" "$mount" || status=$?
  [ -n "${ended:-}" ]
do :; done
[ "$ended" = "$role" ] || fail "the mount of $volume ended with $status"
exit "$status"
