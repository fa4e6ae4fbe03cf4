import { encodeCores } from './cost-table.js';
import { type EncoderFamily, encoderSpec } from './encoders.js';
import type { Signature } from './signature.js';

/** The encoder family that costs most: the class by which forecasts are calibrated. */
export function dominantFamily({ outputs }: Signature): EncoderFamily {
  let family: EncoderFamily = 'copy';
  let most = -1;
  for (const output of outputs) {
    const cores = encodeCores(output);
    const spec = encoderSpec(output.encoder);
    if (spec !== undefined && cores > most) [family, most] = [spec.family, cores];
  }
  return family;
}
