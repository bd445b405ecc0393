import { expect, it } from 'vitest';
import { ownMetrics, QueueCounts } from './metrics.ts';

/** Of RabbitMQ 3.10. */
const text = (jobs: number, redelivered = 0): string => `# TYPE rabbitmq_detailed_queue_messages_ready gauge
# HELP rabbitmq_detailed_queue_messages_ready Messages ready to be delivered to consumers
rabbitmq_detailed_queue_messages_ready{vhost="/",queue="jobs"} 7
rabbitmq_detailed_queue_messages_ready{vhost="/",queue="empty"} 0
rabbitmq_detailed_queue_messages_ready{vhost="/",queue="lab.incarnation"} 1
rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="jobs"} 2
rabbitmq_detailed_channel_messages_delivered_ack_total{channel="<0.1.0>",queue="jobs",vhost="/"} ${jobs}
rabbitmq_detailed_channel_messages_delivered_ack_total{channel="<0.2.0>",queue="jobs",vhost="/"} ${redelivered}
rabbitmq_identity_info{rabbitmq_node="rabbit@localhost",rabbitmq_cluster="a \\"b\\""} 1
`;

it('queues have the depths that the broker counts, and rates from one count to the next', () => {
  const counts = new QueueCounts();
  expect(counts.next(text(10), 1_000)).toEqual({ jobs: { ready: 7, held: 2, rate: 0 } });
  expect(counts.next(text(20, 5), 3_000)).toEqual({ jobs: { ready: 7, held: 2, rate: 7.5 } });
  // A channel is gone, and its counts with it.
  expect(counts.next(text(0), 5_000)).toEqual({ jobs: { ready: 7, held: 2, rate: 0 } });
});

/** Of RabbitMQ 4.0.5: a classic queue, a quorum queue that is read without acknowledgements, too, and a stream. */
const text4 = (votes: number): string => `# TYPE rabbitmq_detailed_queue_messages_ready gauge
rabbitmq_detailed_queue_messages_ready{vhost="/",queue="jobs"} 7
rabbitmq_detailed_queue_messages_ready{vhost="/",queue="log"} 9
rabbitmq_detailed_queue_messages_ready{vhost="/",queue="votes"} 0
rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="jobs"} 2
rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="log"} 0
rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="votes"} 2
rabbitmq_detailed_queue_messages{vhost="/",queue="jobs"} 9
rabbitmq_detailed_channel_get_ack_total{channel="<0.615.0>",vhost="/",queue="votes"} 0
rabbitmq_detailed_channel_messages_delivered_ack_total{channel="<0.615.0>",vhost="/",queue="jobs"} 2
rabbitmq_detailed_channel_messages_delivered_ack_total{channel="<0.615.0>",vhost="/",queue="votes"} 2
rabbitmq_detailed_channel_messages_delivered_total{channel="<0.946.0>",vhost="/",queue="votes"} ${votes}
rabbitmq_detailed_channel_messages_acked_total{channel="<0.615.0>",vhost="/",queue="votes"} 0
`;

it('queues have depths and rates by what RabbitMQ 4 prints, too', () => {
  const counts = new QueueCounts();
  counts.next(text4(7), 1_000);
  expect(counts.next(text4(11), 3_000)).toEqual({
    jobs: { ready: 7, held: 2, rate: 0 },
    log: { ready: 9, held: 0, rate: 0 },
    votes: { ready: 0, held: 2, rate: 2 },
  });
});

it("a role's own numbers are summed, without those that every process has", () => {
  const role = `process_cpu_seconds_total 1.5
jobs_total{kind="a"} 3
jobs_total{kind="b"} 4
job_seconds_bucket{le="0.1"} 2
job_seconds_sum 0.25
job_seconds_count 7
`;
  expect(ownMetrics(role)).toEqual({ jobs_total: 7, job_seconds_count: 7 });
});
