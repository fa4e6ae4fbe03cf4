import { parseCpuset } from '../lib/cpuset.js';
import { isCorecastError } from '../lib/errors.js';

/** "1-5,22": hours of the day, 0 to 23. Undefined when it is no such list. */
export function hoursOf(text: string): readonly number[] | undefined {
  try {
    const hours = parseCpuset(text);
    return hours.length > 0 && hours.every((hour) => hour < 24) ? hours : undefined;
  } catch (error) {
    if (isCorecastError(error)) return undefined;
    throw error;
  }
}
