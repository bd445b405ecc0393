/** Times of day in a time zone, through its changes to summer time and back. */
import { Cron } from 'croner';

export interface TimeOfDay {
  /** As 02:00. */
  readonly time: string;
  /** As Europe/Lisbon. */
  readonly timeZone: string;
}

/** Once each day; on a day that leaves the time out, up to an hour earlier. `schedule` begins to call, `stop` ends that. */
export function daily({ time, timeZone }: TimeOfDay): Cron {
  const [hour, minute] = time.split(':').map(Number);
  return new Cron(`${minute} ${hour} * * *`, { timezone: timeZone });
}
