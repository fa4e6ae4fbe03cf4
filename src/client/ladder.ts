import { CorecastError } from '../lib/errors.js';
import type { FfmpegCommand } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { parseRung, type Rung } from './rungs.js';
import { shellWords } from './shell-words.js';

/** As the only rung: the ladder is derived from the command. */
const AUTO = 'auto';

/** Undefined where they are to be derived. */
export function givenRungs(texts: readonly string[]): Rung[] | undefined {
  if (!texts.includes(AUTO)) return texts.map((text) => parseRung(shellWords(text), text));
  if (texts.length === 1) return undefined;
  throw new CorecastError(
    'INVALID_ARGUMENT',
    '--degrade auto stands alone; leave the other rungs out, or auto',
  );
}

export async function derivedRungs(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  note: (text: string) => void,
): Promise<Rung[]> {
  const { deriveRungs } = await import('./auto-rungs.js');
  const rungs = deriveRungs(command, planned);
  note(
    rungs.length === 0
      ? 'no ladder: nothing of this command has a cheaper setting that --degrade auto knows'
      : `ladder: ${rungs.map(({ text }, i) => `${i + 1}. ${text}`).join('; ')}`,
  );
  return rungs;
}
