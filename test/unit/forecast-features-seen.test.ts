import { describe, expect, it } from 'vitest';
import { encodeStatics, STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import type { Signature } from '../../src/forecast/signature.js';
import { SIGNATURE } from '../support/control-answers.js';

const signatureOf = (bitrateBps: number): Signature => ({
  ...SIGNATURE,
  input: { ...SIGNATURE.input, bitrateBps },
  complexity: { probeCpuSecondsPerFrame: 0.01 },
});
const featuresOf = (bitrateBps: number, view = {}) => encodeStatics(signatureOf(bitrateBps), [1, 2], 8, view);

describe('the features of a signature that was seen before', () => {
  it('are those of the first time', () => {
    expect(featuresOf(4_000_000)).toEqual(featuresOf(4_000_000));
  });

  it('are its own, and its own at each speed factor', () => {
    const first = featuresOf(4_000_000);
    expect(featuresOf(4_000_001)).not.toEqual(first);
    const slower = featuresOf(4_000_000, { speedFactor: 2 });
    const trial = STATIC_FEATURE_NAMES.indexOf('probeRatioLog');
    expect(slower[0]![trial]).toBeCloseTo(first[0]![trial]! - Math.log(2), 5);
  });

  it('are found anew when they were forgotten for others', () => {
    const first = featuresOf(5_000_000);
    for (let n = 1; n <= 300; n++) featuresOf(5_000_000 + n);
    expect(featuresOf(5_000_000)).toEqual(first);
  });
});
