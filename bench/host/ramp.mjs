/** One policy on this host: channels come by the sequence, the policy says who runs, and every second is looked at. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { dist } from '../live/daemon.mjs';
import { HostChannel, nowS } from './channel.mjs';

const { allowedCpus, busyShares, mean, readCpuTimes } = await import(`${dist}/client/host-glance.js`);

/** CPUs are given to a neighbour that nobody forecast for so long; then it is seen how the host gets over it. */
export const NEIGHBOUR_S = 20;
export const RECOVERY_S = 10;
/** A stopped channel writes what it has; `corecast run` waits 5 s for a terminal's own signal. */
const STOP_MS = 15_000;
const BUSY = 'for (;;);';

/**
 * The marks of each second {channels, late, busy, cpuS, wrapperCpuS, ...policy.glance()}, the channels that ran or were
 * refused, and when it was given up. `neighbours`: processes, each as busy as one CPU, after the first `seconds`.
 */
export async function runRamp({ arrivals, asked, seconds, policy, lateS, neighbours = 0, signal }) {
  const host = new Host();
  const begunS = nowS();
  const until = (atS) => sleep(Math.max(0, (begunS + atS - nowS()) * 1000));
  const marks = [];
  let burst = [];
  let next = 0;
  let gaveUpS;
  const lastS = neighbours > 0 ? seconds + NEIGHBOUR_S + RECOVERY_S : seconds;
  try {
    for (let second = 1; second <= lastS && gaveUpS === undefined; second++) {
      for (; next < arrivals.length && arrivals[next].atS < second; next++) {
        await until(arrivals[next].atS);
        if (policy.admits(host)) host.start(policy.command(arrivals[next], next), arrivals[next], lateS);
        else host.refused.push(arrivals[next]);
      }
      await until(second);
      signal?.throwIfAborted();
      marks.push({ ...host.look(), ...(await policy.glance?.()) });
      if (hopeless(marks, asked * seconds, policy.worstShare)) gaveUpS = second;
      if (neighbours > 0 && second === seconds) burst = startNeighbours(neighbours);
      if (second === seconds + NEIGHBOUR_S) stopNeighbours(burst);
    }
  } finally {
    stopNeighbours(burst);
    await host.stop();
  }
  return { marks, channels: host.channels, refusedByRule: host.refused.length, gaveUpS };
}

/** Whatever comes, more than that share of the seconds will have been late, of which there are no more than `most`. */
function hopeless(marks, most, worstShare) {
  return marks.reduce((sum, { late }) => sum + late, 0) > worstShare * most;
}

class Host {
  channels = [];
  refused = [];
  #cpus = allowedCpus();
  #readings = [readCpuTimes()];

  /** Those that were let in and have not ended. */
  get count() {
    return this.channels.filter(({ channel }) => channel.ending === undefined).length;
  }

  /** Busy share of the CPUs over the last seconds, until now. */
  busyOver(seconds) {
    const from = this.#readings.at(-seconds) ?? this.#readings[0];
    return mean(busyShares(from, readCpuTimes(), this.#cpus));
  }

  start(command, arrival, lateS) {
    const channel = new HostChannel({ ...command, lateS });
    this.channels.push({ arrival, channel, lateS: 0 });
    channel.ended.catch(() => {});
  }

  look() {
    const before = this.#readings.at(-1);
    const now = readCpuTimes();
    this.#readings.push(now);
    let late = 0;
    let channels = 0;
    let cpuS = 0;
    let wrapperCpuS = 0;
    for (const one of this.channels) {
      const { channel } = one;
      if (channel.ending === undefined && channel.look()) {
        one.lateS++;
        late++;
      }
      if (channel.running) channels++;
      cpuS += channel.cpuS;
      wrapperCpuS += channel.wrapperCpuS;
    }
    return { channels, late, busy: mean(busyShares(before, now, this.#cpus)), cpuS, wrapperCpuS };
  }

  async stop() {
    const running = this.channels.filter(({ channel }) => channel.ending === undefined);
    for (const { channel } of running) channel.stop();
    const timer = setTimeout(() => {
      for (const { channel } of running) channel.kill();
    }, STOP_MS);
    await Promise.all(running.map(({ channel }) => channel.ended));
    clearTimeout(timer);
  }
}

function startNeighbours(count) {
  return Array.from({ length: count }, () => spawn(process.execPath, ['-e', BUSY], { stdio: 'ignore' }));
}

function stopNeighbours(burst) {
  for (const neighbour of burst.splice(0)) neighbour.kill('SIGKILL');
}
