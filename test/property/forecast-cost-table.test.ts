import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { costTableDemand } from '../../src/forecast/cost-table.js';
import { ENCODER_NAMES, encoderSpec } from '../../src/forecast/encoders.js';
import { encodeStatic, STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { signatureViolations } from '../../src/forecast/signature-check.js';
import { anyOutput, anySignature, signatureOf } from '../support/forecast-signatures.js';

describe('the cost table', () => {
  it('gives a finite positive demand and finite features for any valid signature', () => {
    fc.assert(
      fc.property(anySignature, fc.integer({ min: 1, max: 512 }), (signature, cpuCount) => {
        expect(signatureViolations(signature)).toEqual([]);
        const demand = costTableDemand(signature);
        expect(Number.isFinite(demand) && demand > 0).toBe(true);
        const features = encodeStatic(signature, cpuCount, 512);
        expect(features.length).toBe(STATIC_FEATURE_NAMES.length);
        expect(features.every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('never estimates less for twice the pixels', () => {
    fc.assert(
      fc.property(anySignature, ({ input, outputs, complexity }) => {
        const halved = outputs.map((output) => ({
          ...output,
          width: Math.max(16, Math.min(8192, output.width)),
        }));
        const doubled = halved.map((output) => ({ ...output, width: output.width * 2 }));
        // An input that no output matches: where doubling ends the need to scale, less is right.
        const sized = { ...input, width: 16, height: 17 };
        const before = costTableDemand({ input: sized, outputs: halved, complexity });
        const after = costTableDemand({ input: sized, outputs: doubled, complexity });
        expect(after).toBeGreaterThanOrEqual(before * (1 - 1e-9));
      }),
      { numRuns: 200 },
    );
  });

  it('never estimates less for twice the frame rate', () => {
    fc.assert(
      fc.property(anySignature, ({ input, outputs, complexity }) => {
        const slower = outputs.map((output) => ({ ...output, fps: Math.min(240, output.fps) }));
        const faster = slower.map((output) => ({ ...output, fps: output.fps * 2 }));
        const before = costTableDemand({ input, outputs: slower, complexity });
        expect(costTableDemand({ input, outputs: faster, complexity })).toBeGreaterThanOrEqual(
          before * (1 - 1e-9),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('never makes a slower preset cheaper, whatever the options', () => {
    const named = ['libx264', 'libx265', 'libsvtav1'];
    fc.assert(
      fc.property(
        anyOutput.filter(({ encoder }) => named.includes(encoder)),
        (output) => {
          const presets = encoderSpec(output.encoder)!.levels;
          const costs = presets.map((preset) => costTableDemand(signatureOf([{ ...output, preset }])));
          for (let i = 1; i < costs.length; i++)
            expect(costs[i]).toBeGreaterThanOrEqual(costs[i - 1]! * (1 - 1e-9));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('knows a cost for every encoder, and almost none for copying', () => {
    const demandOf = (encoder: string) =>
      costTableDemand(signatureOf([{ ...signatureOf().outputs[0]!, encoder, preset: '' }]));
    for (const encoder of ENCODER_NAMES.filter((name) => name !== 'copy'))
      expect(demandOf(encoder)).toBeGreaterThan(0.01);
    expect(demandOf('copy')).toBeLessThan(0.05);
  });
});
