import type { Forecast } from '../forecast/forecast.js';
import type { OccupancyIndex } from '../reservation/allocator.js';
import type { Check, DecideInput } from './decide.js';
import { percent } from './words.js';

/** A float's dust must not refuse a request that meets the limit exactly. */
const DUST = 1e-9;

/**
 * The load of the host with the channel on it, 0.9 quantile. Two sums hold whatever the model says:
 *
 *   measured: the present busy share + what the channel will use / CPUs
 *   promised: (what all reservations will use + what the channel will use) / capacity
 *
 * The second counts channels that are reserved and not yet started, which nothing measured shows. What a reservation will
 * use is its thousandths without the headroom (of those who share CPUs, their means): counting the headroom as load would ask for the margin twice. The larger
 * sum is the floor. The model may see more coming and raise it, but no higher than if every reservation were used up,
 * headroom and all: a model that has gone astray does not close an idle host.
 *
 * A limit of 1 turns the check off, for hosts whose other work is to give way: no CPU is promised beyond its capacity then
 * either.
 */
export function hostLoadCheck(
  input: DecideInput,
  index: OccupancyIndex,
  forecast: Forecast,
  channel: { readonly loadMilli: number; readonly reservedMilli: number },
): Check {
  const { host_load: limit } = input.limits;
  const cpuMilli = Math.max(1, index.free.length * 1000);
  const capacityMilli = Math.max(1, index.capacityMilli);
  const busy = input.host?.busy ?? 0;
  const reserved = index.reservedMilli;
  const measured = busy + channel.loadMilli / cpuMilli;
  const promised = (loadOf(input, reserved) + channel.loadMilli) / capacityMilli;
  const sums = Math.max(measured, promised);
  const most = Math.max(
    busy + channel.reservedMilli / cpuMilli,
    (reserved + channel.reservedMilli) / capacityMilli,
    sums,
  );
  const model = forecast.source === 'lstm' ? modelLoad(forecast) : 0;
  const load = Math.min(most, Math.max(sums, model));
  const off = limit >= 1;
  const passed = off || load <= limit + DUST;
  const alone = channel.loadMilli / capacityMilli;
  const possible = off || alone <= limit + DUST;
  const from = [
    input.host === undefined ? 'host not measured yet' : `now ${percent(busy)} busy`,
    `${percent(reserved / capacityMilli)} reserved`,
    ...(forecast.source === 'lstm' ? [`model says ${percent(model)}`] : []),
  ].join(', ');
  const never = possible ? '' : `; alone it would be ${percent(alone)}, so a smaller request is needed`;
  return {
    reason: {
      code: possible ? 'HOST_LOAD' : 'TOO_LARGE',
      text: `would take the host to ${percent(load)} load (${from}); ${off ? 'no limit is set' : `the limit is ${percent(limit)}${never}`}`,
      needed: load,
      available: limit,
      unit: 'share',
      passed,
    },
    possible,
  };
}

/** What the reservations will use. Those who share are expected to use their means: their margin is for all of them. */
function loadOf({ limits, sharing }: DecideInput, reservedMilli: number): number {
  let [promised, mean] = [0, 0];
  for (const { promisedMilli, sum } of sharing?.sharers.values() ?? []) {
    promised += promisedMilli;
    mean += sum.meanMilli;
  }
  return Math.max(0, reservedMilli - promised) * (1 - limits.headroom) + mean;
}

function modelLoad(forecast: Forecast): number {
  const most = forecast.horizons.map(({ hostLoad }) => hostLoad.q90).reduce((a, b) => Math.max(a, b), 0);
  return Number.isFinite(most) ? most : 0;
}
