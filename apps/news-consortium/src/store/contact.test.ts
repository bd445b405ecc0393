import { sleep } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { expect, it } from 'vitest';
import { answerMs, Contact } from './contact.ts';

it('who answers in time is there, however slow; who does not is gone until the next answer', async () => {
  const clock = new FakeClock();
  const contact = new Contact(clock);
  expect(contact.isThere).toBe(false);
  await contact.ask(async () => 'here');
  for (let question = 0; question < 3; question++) {
    const slow = contact.ask(() => sleep(clock, answerMs - 1));
    await clock.advanceAsync(answerMs - 2);
    expect(contact.isThere).toBe(true);
    await clock.advanceAsync(1);
    await slow;
    await clock.advanceAsync(500);
    expect(contact.isThere).toBe(true);
  }
  const lost = contact.ask(() => Promise.reject(new Error('cut off')));
  await expect(lost).rejects.toThrow('cut off');
  clock.advance(answerMs / 2);
  await expect(contact.ask(() => Promise.reject(new Error('cut off')))).rejects.toThrow('cut off');
  clock.advance(answerMs / 2);
  expect(contact.isThere).toBe(false);
  await contact.ask(async () => 'here');
  expect(contact.isThere).toBe(true);
});
