/** Makes stack.yaml, the system on a Swarm of three machines, of compose.yaml, the same on one machine. What differs is here. */
import { parseDocument, visit, type YAMLMap } from 'yaml';

const head = ` The whole system on three machines, to which a Swarm gives the labels machine=1, 2 and 3; README.md says how. It is compose.yaml but
 for RabbitMQ, which is a cluster with a node on each machine; test/compose.test.ts writes it.`;

/** Clients find all nodes under the name that compose.yaml has for its only one. Who loses one asks again, and gets another. */
const cluster = `
rabbitmq-1: &rabbitmq
  image: \${LAB_RABBITMQ_IMAGE:?is set by compose.ts env}
  command: [bash, /rabbitmq-node.sh]
  hostname: rabbitmq-1
  environment: { RABBITMQ_NODENAME: rabbit } # at its hostname
  configs:
    - { source: rabbitmq-node.sh, target: /rabbitmq-node.sh }
    - { source: rabbitmq-node.conf, target: /etc/rabbitmq/conf.d/cluster.conf }
  networks: { default: { aliases: [rabbitmq] } }
  volumes: ['rabbitmq:/var/lib/rabbitmq']
  healthcheck: { disable: true } # nobody is told the name of what is not healthy, and a node has to find the others first
  deploy: { endpoint_mode: dnsrr, placement: { constraints: [node.labels.machine == 1] } }
rabbitmq-2:
  <<: *rabbitmq
  hostname: rabbitmq-2
  deploy: { endpoint_mode: dnsrr, placement: { constraints: [node.labels.machine == 2] } }
rabbitmq-3:
  <<: *rabbitmq
  hostname: rabbitmq-3
  deploy: { endpoint_mode: dnsrr, placement: { constraints: [node.labels.machine == 3] } }
`;

/** At a port of the first machine, where clients look for it. */
const entry = `
ports: [{ target: 7400, published: '\${LAB_PORT:?is set by compose.ts env}', mode: host }]
deploy: { placement: { constraints: [node.labels.machine == 1] } }
`;

const configs = `
rabbitmq-node.sh: { file: rabbitmq-node.sh }
rabbitmq-node.conf: { file: rabbitmq-node.conf }
`;

/** The text of compose.yaml, changed into that of stack.yaml. Roles stay as they are, whichever there are. */
export function stackOf(compose: string): string {
  const stack = parseDocument(compose.replace(/^(#.*\n)+/, ''));
  const top = stack.contents as YAMLMap;
  top.commentBefore = head;
  // A Swarm starts again what ends, on another machine if need be, and waits for nobody: roles try until RabbitMQ is there.
  visit(stack, { Pair: (_, { key }) => (['restart', 'depends_on'].includes(String(key)) ? visit.REMOVE : undefined) });
  const services = stack.get('services') as YAMLMap;
  const at = services.items.findIndex(({ key }) => String(key) === 'rabbitmq');
  services.items.splice(at, 1, ...pairsOf(cluster));
  for (const { key, value } of pairsOf(entry)) services.setIn(['entry-point', key], value);
  stack.set('configs', parseDocument(configs).contents);
  // Older clients want to be told.
  top.items.unshift(stack.createPair('version', '3.8'));
  // As Prettier has lists.
  return stack.toString({ lineWidth: 0, singleQuote: true }).replaceAll(/\[ (.*) \]/g, '[$1]');
}

const pairsOf = (text: string): YAMLMap['items'] => (parseDocument(text).contents as YAMLMap).items;
