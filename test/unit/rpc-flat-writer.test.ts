import fc from 'fast-check';
import protobuf from 'protobufjs/light.js';
import { describe, expect, it } from 'vitest';
import { FlatWriter } from '../../src/rpc/flat-writer.js';

// IField has no keyType, which a map needs: IMapField is not among what a type's fields may be.
const WORDS = { keyType: 'string', type: 'string', id: 400 };
const root = protobuf.Root.fromJSON({
  nested: {
    Leaf: {
      fields: {
        text: { type: 'string', id: 1 },
        raw: { type: 'bytes', id: 2 },
        numbers: { rule: 'repeated', type: 'uint32', id: 3 },
        words: WORDS,
      },
    },
    All: {
      fields: {
        u32: { type: 'uint32', id: 1 },
        i32: { type: 'int32', id: 2 },
        s32: { type: 'sint32', id: 3 },
        u64: { type: 'uint64', id: 4 },
        i64: { type: 'int64', id: 5 },
        s64: { type: 'sint64', id: 6 },
        f32: { type: 'fixed32', id: 7 },
        sf32: { type: 'sfixed32', id: 8 },
        f64: { type: 'fixed64', id: 9 },
        sf64: { type: 'sfixed64', id: 10 },
        real: { type: 'float', id: 11 },
        double: { type: 'double', id: 12 },
        flag: { type: 'bool', id: 13 },
        leaves: { rule: 'repeated', type: 'Leaf', id: 14 },
        inner: { type: 'All', id: 2000 },
      },
    },
  },
}).resolveAll();
const All = root.lookupType('All');

const leaf = fc.record({
  // Text of one byte a character and of more; what lies about the borders of a length's bytes included.
  text: fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.integer({ min: 120, max: 140 }).map((n) => 'x'.repeat(n)),
    fc.integer({ min: 16_370, max: 16_400 }).map((n) => 'y'.repeat(n)),
  ),
  raw: fc.uint8Array({ maxLength: 300 }),
  numbers: fc.array(fc.nat(2 ** 32 - 1), { maxLength: 60 }),
  words: fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), { maxKeys: 4 }),
});
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const safe = fc.maxSafeInteger();
const { all } = fc.letrec<{ all: object }>((tie) => ({
  all: fc.record(
    {
      u32: fc.nat(2 ** 32 - 1),
      i32: int32,
      s32: int32,
      u64: fc.maxSafeNat(),
      i64: safe,
      s64: safe,
      f32: fc.nat(2 ** 32 - 1),
      sf32: int32,
      f64: fc.maxSafeNat(),
      sf64: safe,
      real: fc.float(),
      double: fc.double(),
      flag: fc.boolean(),
      leaves: fc.array(leaf, { maxLength: 3 }),
      inner: tie('all'),
    },
    { requiredKeys: [] },
  ),
}));

describe('the writer of protobuf messages', () => {
  it('writes, byte for byte, what that of protobufjs writes', () => {
    const flat = new FlatWriter();
    fc.assert(
      fc.property(all, (value) => {
        const message = All.fromObject(value);
        All.encode(message, flat.reset());
        expect(flat.finish().equals(All.encode(message).finish())).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('begins anew after a message that could not be written, and keeps what it gave before', () => {
    const flat = new FlatWriter();
    const message = All.fromObject({ leaves: [{ text: 'kept' }] });
    All.encode(message, flat.reset());
    const kept = flat.finish();
    expect(() => All.encode({ leaves: [{ text: 1n }] } as never, flat.reset())).toThrow();
    All.encode(All.fromObject({ u32: 7 }), flat.reset());
    expect([...flat.finish()]).toEqual([8, 7]);
    expect(kept.equals(All.encode(message).finish())).toBe(true);
  });
});
