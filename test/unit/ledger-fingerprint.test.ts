import { describe, expect, it } from 'vitest';
import { fingerprintOf } from '../../src/reservation/ledger-format.js';

const REQUEST = {
  name: 'a "name"',
  waitMs: 0,
  none: undefined,
  exclusive: false,
  signature: {
    outputs: [{ preset: 'fast', options: { tune: 'film', 'aq-mode': '1' } }, null],
    input: { fps: 29.97, codec: 'h264' },
  },
};

describe('the fingerprint of a request', () => {
  it('is the one that lies in ledgers already: a retry over an upgrade gets its first answer', () => {
    expect(fingerprintOf(REQUEST)).toBe('b9fa315eac2873f2221b79cd71dadcc2');
  });

  it('does not mind the order of fields, nor one that is absent', () => {
    const { signature, none: _, ...rest } = REQUEST;
    const turned = { signature: { input: signature.input, outputs: signature.outputs }, ...rest };
    expect(fingerprintOf(turned)).toBe(fingerprintOf(REQUEST));
  });

  it('minds the order of a list, and every value', () => {
    const { signature } = REQUEST;
    const outputs = [...signature.outputs].reverse();
    const others = [
      { ...REQUEST, waitMs: 1 },
      { ...REQUEST, name: '' },
      { ...REQUEST, signature: { ...signature, outputs } },
    ];
    const all = [REQUEST, ...others].map(fingerprintOf);
    expect(new Set(all).size).toBe(4);
  });
});
