import { type Cpuset, parseCpuset } from '../lib/cpuset.js';

/**
 * CPUs that share something, from the list file or, on kernels without it, the mask file. Undefined when neither can
 * be read as naming at least one CPU.
 */
export function parseSharers(list: string | undefined, mask: string | undefined): Cpuset | undefined {
  const listed = parseListOrNothing(list) ?? [];
  const cpus = listed.length > 0 ? listed : (parseMaskOrNothing(mask) ?? []);
  return cpus.length > 0 ? cpus : undefined;
}

/** A kernel CPU list, or undefined when it is absent or not one. */
export function parseListOrNothing(text: string | undefined): Cpuset | undefined {
  if (text === undefined) return undefined;
  try {
    return parseCpuset(text);
  } catch {
    return undefined;
  }
}

/** The kernel's hex mask: words of 8 digits with commas between, the last word holds CPUs 0-31. */
function parseMaskOrNothing(text: string | undefined): Cpuset | undefined {
  const digits = text?.trim().replaceAll(',', '') ?? '';
  if (!/^[0-9a-fA-F]{1,16384}$/.test(digits)) return undefined;
  const cpus: number[] = [];
  for (let i = 0; i < digits.length; i++) {
    const nibble = Number.parseInt(digits.charAt(digits.length - 1 - i), 16);
    for (let bit = 0; bit < 4; bit++) if ((nibble >> bit) & 1) cpus.push(i * 4 + bit);
  }
  return cpus;
}
