#!/bin/bash
# Writes the settings of one ZooKeeper server and becomes it: https://zookeeper.apache.org/doc/r3.8.0/zookeeperAdmin.html
set -euo pipefail

# The tick is what the server counts sessions in: a dead client is noticed up to one tick late, after its session's timeout.
cat > /conf/zoo.cfg <<END
dataDir=/data
tickTime=${ZOO_TICK_TIME}
# In ticks: how long a follower may take to connect and read the state, and how far behind it may lag. On a busy machine two that have just
# started are seconds apart; a leader that gives up before its follower comes begins an election anew, again and again.
initLimit=50
syncLimit=20
minSessionTimeout=${ZOO_MIN_SESSION_TIMEOUT}
maxSessionTimeout=${ZOO_MAX_SESSION_TIMEOUT}
# Behind a proxy, or on one host, all clients have one address.
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr,stat,cons,wchs,conf,dump
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
standaloneEnabled=true
reconfigEnabled=false
END

read -ra servers <<< "${ZOO_SERVERS}"
if [ "${#servers[@]}" -eq 0 ]; then
  echo 'clientPort=2181' >> /conf/zoo.cfg
else
  # A server may be known to itself by another address than to the others.
  echo 'quorumListenOnAllIPs=true' >> /conf/zoo.cfg
  for index in "${!servers[@]}"; do
    echo "server.$((index + 1))=${servers[index]}:2888:3888;2181" >> /conf/zoo.cfg
  done
fi
echo "${ZOO_MY_ID}" > /data/myid

# Java would keep the addresses of the others for half a minute, and that one has none for ten seconds; a container that was started again may have
# another. These are settings of its security file, which goes before any of the command line.
printf 'networkaddress.cache.ttl=1\nnetworkaddress.cache.negative.ttl=0\n' > /conf/security
# With exec, so that SIGTERM reaches the server, which ends at once: its log is written before it answers, so there is nothing to save.
exec java "-Xmx${ZOO_HEAP}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dzookeeper.log.dir=/tmp \
  -Djava.security.properties=/conf/security \
  -Dorg.slf4j.simpleLogger.logFile=System.out -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
  -cp /conf:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar \
  org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
