/** As little load as shows the promises; more of it is in `stress.embedded.test.ts`. */
import { describe, it } from 'vitest';
import { uploadAmongKills, uploadAtOnce, uploadThroughCuts } from './stress.ts';

describe('the system', () => {
  it('takes 40 uploads at once', () => uploadAtOnce({ uploads: 40 }));

  it('goes on with an upload of 24 MiB that is cut 6 times, and gets at most 4 MiB again each time', () =>
    uploadThroughCuts({ mebibytes: 24, cutCount: 6 }));

  it('tags all uploads that were answered, whatever is killed meanwhile', () => uploadAmongKills({ uploads: 8 }));
});
