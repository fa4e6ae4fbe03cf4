import type { Forecast } from '../forecast/forecast.js';
import {
  fitsEmptyHost,
  type OccupancyIndex,
  type Placement,
  place,
  type Unplaced,
} from '../reservation/allocator.js';
import type { Check, Choice, DecideInput } from './decide.js';
import { demandOf } from './demand.js';
import { hostLoadCheck } from './host-load.js';
import { cores, count } from './words.js';

const CPU_MILLI = 1000;

export function chooseVod(input: DecideInput, index: OccupancyIndex): Choice {
  const wanted = usable(input);
  let placed: { forecast: Forecast; placement: Placement; load: Check } | undefined;
  let refused: Unplaced | undefined;
  for (const forecast of wanted) {
    const milli = forecast.cpuCount * CPU_MILLI;
    const placement = place(index, wholeCpus(input, forecast));
    if (!placement.ok) {
      refused = placement;
      continue;
    }
    const load = hostLoadCheck(input, index, forecast, { loadMilli: milli, reservedMilli: milli });
    placed = { forecast, placement, load };
    // Fewer CPUs may stay under the load limit where more do not.
    if (load.reason.passed) break;
  }
  if (placed === undefined) return noPlace(input, index, wanted.at(-1)!, refused!);
  const { forecast, placement, load } = placed;
  return {
    forecast,
    cpus: placement.cpus,
    checks: [
      {
        reason: {
          code: 'FITS',
          text: `can use ${count(wanted[0]!.cpuCount, 'whole CPU')} (0.5 quantile ${cores(demandOf(wanted[0]!).q50Milli)}); given ${placement.why}`,
          needed: forecast.cpuCount * CPU_MILLI,
          available: index.freeMilli,
          unit: 'thousandths',
          passed: true,
        },
        possible: true,
      },
      load,
    ],
  };
}

/** The CPU counts that it could keep busy, most first; exactly the wanted one when the request names it. */
function usable({ forecasts, request }: DecideInput): readonly Forecast[] {
  const ascending = [...forecasts].sort((a, b) => a.cpuCount - b.cpuCount);
  if (request.cpuCount > 0) return ascending;
  const busy = ascending.filter(
    (forecast) => forecast.cpuCount <= Math.ceil(demandOf(forecast).q50Milli / CPU_MILLI),
  );
  return busy.length > 0 ? busy.reverse() : ascending.slice(0, 1);
}

function noPlace(input: DecideInput, index: OccupancyIndex, least: Forecast, refused: Unplaced): Choice {
  const milli = least.cpuCount * CPU_MILLI;
  const possible = fitsEmptyHost(index, wholeCpus(input, least));
  const shortfall = refused.explain();
  const short = milli > index.freeMilli;
  const text = possible
    ? `needs at least ${count(least.cpuCount, 'whole CPU')}: ${shortfall.text}${wouldFit(least, shortfall.largestMilli)}`
    : `asks for ${count(least.cpuCount, 'whole CPU')}, more than ${index.host.pools === undefined ? 'this host has' : 'the pool of vod has'} even when empty: ask for fewer`;
  return {
    forecast: least,
    cpus: [],
    checks: [
      {
        reason: {
          code: possible ? (short ? 'CPU_SHORT' : 'NO_PLACEMENT') : 'TOO_LARGE',
          text,
          needed: milli,
          available: shortfall.availableMilli,
          unit: 'thousandths',
          passed: false,
        },
        possible,
      },
      hostLoadCheck(input, index, least, { loadMilli: milli, reservedMilli: milli }),
    ],
  };
}

/** For a request that names its CPUs: fewer would do, if there are any. */
function wouldFit({ cpuCount }: Forecast, largestMilli: readonly number[]): string {
  const whole = largestMilli.filter((milli) => milli === CPU_MILLI).length;
  return whole === 0 || whole >= cpuCount ? '' : `; ${count(whole, 'whole CPU')} would fit now`;
}

function wholeCpus({ request, smtCoreMilli }: DecideInput, forecast: Forecast) {
  const { exclusive, channelClass } = request;
  const sharesMilli = Array.from({ length: forecast.cpuCount }, () => CPU_MILLI);
  return { sharesMilli, exclusive, channelClass, smtCoreMilli };
}
