import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, encodeHeader, FrameDecoder } from './codec.ts';
import { FrameTooLargeError, TruncatedFrameError } from './errors.ts';

const payloads = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 });

function pushed(decoder: FrameDecoder, chunk: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  decoder.push(chunk, (frame) => frames.push(frame));
  return frames;
}

/** In memory of its own, as a socket gives it. */
const pieceOf = (bytes: Uint8Array): Buffer => Buffer.from(new Uint8Array(bytes).buffer);

function decodeInPieces(bytes: Buffer, cuts: readonly number[], frameBytesMax = 100): Buffer[] {
  const decoder = new FrameDecoder({ frameBytesMax, ownsPieces: true });
  const sorted = [...cuts].sort((a, b) => a - b);
  const frames = [0, ...sorted].flatMap((from, index) =>
    pushed(decoder, pieceOf(bytes.subarray(from, sorted[index] ?? bytes.length))),
  );
  decoder.end();
  return frames;
}

describe('a frame', () => {
  it('is its length in 4 bytes, big-endian, and the payload', () => {
    expect(encodeFrame(Buffer.from('héllo')).toString('hex')).toBe('00000006' + Buffer.from('héllo').toString('hex'));
    expect(encodeHeader(0xffff_ffff).toString('hex')).toBe('ffffffff');
    expect(encodeFrame(new Uint8Array()).toString('hex')).toBe('00000000');
  });

  it('is made of parts as if they were one', () => {
    fc.assert(fc.property(payloads, (parts) => void expect(encodeFrame(...parts)).toEqual(encodeFrame(Buffer.concat(parts)))));
  });

  it('may not be longer than 4 bytes can say', () => {
    expect(() => encodeHeader(2 ** 32)).toThrow(FrameTooLargeError);
  });
});

describe('the decoder', () => {
  it('gives the same frames however the stream is cut', () => {
    fc.assert(
      fc.property(payloads, fc.array(fc.nat(300), { maxLength: 12 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map((frame) => encodeFrame(frame)));
        const decoded = decodeInPieces(
          bytes,
          cuts.map((cut) => cut % (bytes.length + 1)),
        );
        expect(decoded.map((frame) => frame.toString('hex'))).toEqual(frames.map((frame) => Buffer.from(frame).toString('hex')));
      }),
      { numRuns: 1000 },
    );
  });

  it('gives the same frames for every single place to cut, for every pair of places, and byte by byte', () => {
    const frames = ['', 'a', 'some bytes', ''].map((text) => Buffer.from(text));
    const bytes = Buffer.concat(frames.map((frame) => encodeFrame(frame)));
    const places = Array.from({ length: bytes.length + 1 }, (_, at) => at);
    for (const first of places) for (const second of places) expect(decodeInPieces(bytes, [first, second])).toEqual(frames);
    expect(decodeInPieces(bytes, places)).toEqual(frames);
  });

  it('says how far a frame had come when the stream ends within it, wherever that is', () => {
    const bytes = encodeFrame(Buffer.from('abcdef'));
    for (let length = 1; length < bytes.length; length++) {
      const decoder = new FrameDecoder({ frameBytesMax: 100 });
      expect(pushed(decoder, bytes.subarray(0, length))).toEqual([]);
      expect(decoder.midFrame).toBe(true);
      expect(() => decoder.end()).toThrow(TruncatedFrameError);
      expect(() => decoder.end()).toThrow(`after ${length} of ${length < 4 ? 'at least 4' : 10} bytes`);
    }
  });

  it('refuses a length above the limit as soon as it has read it, and holds nothing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 101, max: 0xffff_ffff }), (length) => {
        const decoder = new FrameDecoder({ frameBytesMax: 100 });
        expect(() => pushed(decoder, encodeHeader(length))).toThrow(new FrameTooLargeError(length, 100));
        expect(decoder.heldBytes).toBe(0);
      }),
    );
  });

  it('takes a frame of exactly the limit', () => {
    const frame = Buffer.alloc(100, 7);
    expect(pushed(new FrameDecoder({ frameBytesMax: 100 }), encodeFrame(frame))).toEqual([frame]);
  });

  it('gives large frames back whole, in pieces of any size', () => {
    const frame = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251));
    const bytes = Buffer.concat([encodeFrame(frame), encodeFrame(frame)]);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
        for (const decoded of decodeInPieces(bytes, cuts, frame.length)) expect(decoded.equals(frame)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('allocates for what has come, not for what was announced, nor for every piece', () => {
    const announced = 1_000_000;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 1, 2, 100, 5_000, 60_000), { maxLength: 40 }), (sizes) => {
        const decoder = new FrameDecoder({ frameBytesMax: announced });
        pushed(decoder, encodeHeader(announced));
        let received = 0;
        for (const size of sizes.filter((bytes) => received + bytes < announced)) {
          pushed(decoder, Buffer.alloc(size));
          received += size;
          expect(decoder.heldBytes).toBeGreaterThanOrEqual(received);
          expect(decoder.heldBytes).toBeLessThanOrEqual(
            received === 0 ? 0 : Math.min(announced, Math.max(64 * 1024, 4 * received)),
          );
        }
      }),
    );
  });

  it('gives the memory of its own pieces back at once where no payload is a view of them', () => {
    const [first, second] = ['first', 'second'].map((text) => encodeFrame(Buffer.from(text)));
    const decoder = new FrameDecoder({ frameBytesMax: 100, ownsPieces: true });
    const pieces = [first!.subarray(0, 6), first!.subarray(6), Buffer.concat([second!, first!.subarray(0, 2)])].map(pieceOf);
    expect(pieces.flatMap((piece) => pushed(decoder, piece)).map(String)).toEqual(['first', 'second']);
    expect(pieces.map(({ length }) => length)).toEqual([0, 0, second!.length + 2]);
    const kept = pieceOf(first!.subarray(0, 6));
    pushed(new FrameDecoder({ frameBytesMax: 100 }), kept);
    expect(kept).toHaveLength(6);
  });

  it('does not copy a payload that came in one piece', () => {
    const chunk = encodeFrame(Buffer.from('payload'));
    const [payload] = pushed(new FrameDecoder({ frameBytesMax: 100 }), chunk);
    chunk[4] = 'P'.charCodeAt(0);
    expect(String(payload)).toBe('Payload');
  });
});
