#!/bin/bash
# One of the three nodes of RabbitMQ's cluster; rabbitmq-node.conf has its settings.
set -e
await_port() {
  until (exec 3<> "/dev/tcp/$1/5672") 2> /dev/null; do sleep 0.5; done
}

# Who knows it may join; only what is in the stack's own network can try to.
rm -f ~/.erlang.cookie
(umask 077 && printf lab > ~/.erlang.cookie)

# The image lets nobody else ask where this node listens; here the others have to.
unset ERL_EPMD_ADDRESS

# One after the other: two that start at once, and do not see each other yet, would be two clusters.
if [[ ! -d ~/mnesia ]]; then
  case $HOSTNAME in
    rabbitmq-2) await_port rabbitmq-1 ;;
    rabbitmq-3) await_port rabbitmq-2 ;;
  esac
fi

# The roles' account comes when all nodes are there: so each queue is declared in the whole cluster, and has a member on each node.
add_account() {
  await_port 127.0.0.1
  rabbitmqctl await_online_nodes 3
  rabbitmqctl add_user lab lab || true # It is there, after the first time.
  rabbitmqctl set_permissions lab '.*' '.*' '.*'
}
[[ $HOSTNAME != rabbitmq-3 ]] || add_account > /dev/null 2>&1 &

exec /usr/lib/rabbitmq/bin/rabbitmq-server
