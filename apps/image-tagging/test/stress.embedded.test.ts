/** As much load as a run of all tests has time for. */
import { describe, it } from 'vitest';
import { uploadAmongKills, uploadAtOnce, uploadThroughCuts } from './stress.ts';

describe('the system', () => {
  it('takes 200 uploads at once', () => uploadAtOnce({ uploads: 200 }));

  it('goes on with an upload of 64 MiB that is cut 10 times, and gets at most 4 MiB again each time', () =>
    uploadThroughCuts({ mebibytes: 64, cutCount: 10 }));

  it('tags all uploads that were answered, whatever is killed meanwhile', () => uploadAmongKills({ uploads: 24 }));
});
