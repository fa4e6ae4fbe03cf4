import { Host } from './host.js';
import type { Policy } from './policy.js';
import { hoursOf } from './population.js';
import type { Workload } from './workload.js';

/** What became of one workload under one policy; the warm-up is simulated and not counted. */
export interface Outcome {
  /** Hours of admitted channels, and of those the late ones. */
  readonly channelHours: number;
  readonly lateHours: number;
  /** CPU hours: used by channels, promised to them, and there. */
  readonly usedHours: number;
  readonly reservedHours: number;
  readonly cpuHours: number;
  readonly hours: number;
  readonly admitted: number;
  readonly refused: number;
  /** Changes of running channels by the policy, loans of thousandths among them; warm-up included. */
  readonly adjustments: number;
  /** Warm-up included: what the simulator has done. */
  readonly simulatedChannelHours: number;
  readonly series: readonly Sample[];
}

/** Means over SAMPLE_STEPS steps. */
export interface Sample {
  readonly hour: number;
  readonly channels: number;
  /** Shares of the host's CPUs. */
  readonly used: number;
  readonly reserved: number;
  readonly lateShare: number;
}

const SAMPLE_STEPS = 60;

export function simulate(workload: Workload, policy: Policy): Outcome {
  const host = new Host(workload.cpus, workload.variation);
  const counted = new Sums();
  const sampled = new Sums();
  const series: Sample[] = [];
  let [admitted, refused, next, simulatedSteps] = [0, 0, 0, 0];
  for (let step = 0; step < workload.steps; step++) {
    host.end(step, (arrival) => policy.ended?.(arrival, host));
    for (; workload.arrivals[next]?.fromStep === step; next++) {
      const arrival = workload.arrivals[next]!;
      const group = policy.admit(arrival, host, step);
      const isCounted = step >= workload.countedFrom;
      if (group !== undefined) host.start(arrival, group);
      if (isCounted && group !== undefined) admitted++;
      if (isCounted && group === undefined) refused++;
    }
    host.run(step);
    policy.observe?.(host, step);
    simulatedSteps += host.count;
    if (step < workload.countedFrom) continue;
    const reserved = policy.reservedCores();
    counted.add(host, reserved);
    sampled.add(host, reserved);
    if (sampled.steps === SAMPLE_STEPS) {
      series.push(sampleOf(sampled, hoursOf(step + 1 - workload.countedFrom), workload.cpus));
      sampled.clear();
    }
  }
  return {
    channelHours: hoursOf(counted.channels),
    lateHours: hoursOf(counted.late),
    usedHours: hoursOf(counted.used),
    reservedHours: hoursOf(counted.reserved),
    cpuHours: hoursOf(counted.steps) * workload.cpus,
    hours: hoursOf(counted.steps),
    admitted,
    refused,
    adjustments: policy.adjustments ?? 0,
    simulatedChannelHours: hoursOf(simulatedSteps),
    series,
  };
}

class Sums {
  steps = 0;
  channels = 0;
  late = 0;
  used = 0;
  reserved = 0;

  add(host: Host, reserved: number): void {
    this.steps++;
    this.channels += host.count;
    this.late += host.late;
    this.used += host.used;
    this.reserved += reserved;
  }

  clear(): void {
    this.steps = 0;
    this.channels = 0;
    this.late = 0;
    this.used = 0;
    this.reserved = 0;
  }
}

function sampleOf({ steps, channels, late, used, reserved }: Sums, hour: number, cpus: number): Sample {
  return {
    hour,
    channels: channels / steps,
    used: used / steps / cpus,
    reserved: reserved / steps / cpus,
    lateShare: channels === 0 ? 0 : late / channels,
  };
}
