import { describe, expect, it } from 'vitest';
import { candidateCpuCounts, type DecideInput, decide } from '../../src/balancer/decide.js';
import { demandOf, spread, withHeadroom } from '../../src/balancer/demand.js';
import { memoryOf } from '../../src/balancer/memory.js';
import { EIGHT, failed, limits, TWO, textOf } from '../support/decisions.js';
import { channelRequest, decideInput, forecastOf, hostState } from '../support/requests.js';
import { occupied, regularTopology } from '../support/topology-of.js';

const SMT = regularTopology({ nodes: 1, l3sPerNode: 1, coresPerL3: 4, threads: 2 });

describe('candidate CPU counts', () => {
  it.each([
    [1, 0, [1]],
    [2, 0, [1, 2]],
    [5, 0, [1, 2, 3, 4, 5]],
    [8, 0, [1, 2, 3, 4, 6, 8]],
    [256, 0, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]],
    [8, 3, [3]],
    [2, 7, [7]],
  ])('of %i CPUs with %i wanted are %j', (schedulable, cpuCount, expected) => {
    expect(candidateCpuCounts(channelRequest({ cpuCount }), schedulable)).toEqual(expected);
  });
});

describe('the demand of a live channel', () => {
  it('is the worst horizon, with the headroom on top', () => {
    const forecast = forecastOf(2, 1);
    const horizons = forecast.horizons.map((one, i) =>
      i === 1 ? { ...one, demand: { q50: 1, q90: 1.47, q99: 2 } } : one,
    );
    expect(demandOf({ ...forecast, horizons }).q90Milli).toBe(1470);
    expect(withHeadroom(1470, 0.2)).toBe(1838);
  });

  it('is spread in the shape of the forecast', () => {
    const shares = spread(forecastOf(3, 1.2), 1200)!;
    expect(shares).toEqual([600, 400, 200]);
  });

  it('goes on to the other CPUs where one is full', () => {
    const shares = spread(forecastOf(3, 2.6), 2600)!;
    expect(shares[0]).toBe(1000);
    expect(shares[1]).toBe(1000);
    expect(shares.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(2600);
    expect(spread(forecastOf(3, 3), 3001)).toBeUndefined();
  });

  it('is refused as a defect when it is not a number', () => {
    const forecasts = [forecastOf(1, Number.NaN)];
    expect(() => decide(decideInput(TWO, 1, { forecasts }))).toThrow(
      /forecast for 1 CPUs has a demand of NaN/,
    );
  });
});

describe('a live request', () => {
  it('gets the fewest CPUs that keep real time', () => {
    const verdict = decide(decideInput(EIGHT, 1.47));
    expect(verdict).toMatchObject({ fits: true, waitingHelps: false, retryAfterMs: 0 });
    expect(verdict.forecast.cpuCount).toBe(2);
    expect(verdict.cpus.map(({ cpu }) => cpu)).toEqual([0, 1]);
    expect(verdict.reasons[0]?.text).toBe(
      'needs 1.84 cores (0.9 quantile 1.47 + 20 % headroom); given CPUs 0-1 on 2 cores of one L3 and one NUMA node',
    );
    expect(verdict.reasons.every(({ passed }) => passed)).toBe(true);
  });

  it('is spread wider when the fewest CPUs have no place', () => {
    const input = decideInput(EIGHT, 1.47, {
      occupancy: occupied(Object.fromEntries(EIGHT.schedulable.map((cpu) => [cpu, 300]))),
      forecasts: [1, 2, 3, 4].map((c) => forecastOf(c, 1.47, { flat: true })),
    });
    const verdict = decide(input);
    expect(verdict.fits).toBe(true);
    expect(verdict.forecast.cpuCount).toBe(3);
  });

  it('that finds no place is told what it needs and what the roomiest CPUs offer', () => {
    const input = decideInput(TWO, 1.2, { occupancy: occupied({ 0: 380, 1: 380 }) });
    const verdict = decide(input);
    expect(verdict).toMatchObject({ fits: false, waitingHelps: true, cpus: [], retryAfterMs: 5_000 });
    expect(verdict.reasons[0]).toMatchObject({ code: 'CPU_SHORT', needed: 1500, available: 1240 });
    expect(verdict.reasons[0]?.text).toBe(
      'needs 1.50 cores (0.9 quantile 1.20 + 20 % headroom); the whole host has 1.24 cores left; ' +
        'up to 0.74 (0.9 quantile) would fit now: a cheaper rung, preset, size or frame rate',
    );
  });

  it('is told when there is enough in all, but not in the shape it needs', () => {
    const input = decideInput(TWO, 0.8, {
      request: channelRequest({ cpuCount: 1 }),
      occupancy: occupied({ 0: 400, 1: 300 }),
    });
    expect(failed(input)).toEqual(['NO_PLACEMENT']);
    expect(textOf(input, 'NO_PLACEMENT')).toBe(
      'needs 1.00 core (0.9 quantile 0.80 + 20 % headroom); it wants 1 CPU with 1.00 free, but the roomiest 1 CPU offers 0.70; ' +
        'up to 0.56 (0.9 quantile) would fit now: a cheaper rung, preset, size or frame rate',
    );
  });

  it('that is too large for the empty host is told what would fit', () => {
    const verdict = decide(decideInput(TWO, 1.7));
    expect(verdict).toMatchObject({ fits: false, waitingHelps: false, retryAfterMs: 0 });
    expect(verdict.reasons[0]?.code).toBe('TOO_LARGE');
    expect(verdict.reasons[0]?.text).toContain('a channel on this host may need at most 1.60 cores');
  });

  it('that wants more CPUs than there are is too large', () => {
    const input = decideInput(TWO, 0.5, { request: channelRequest({ cpuCount: 3 }) });
    expect(decide(input).waitingHelps).toBe(false);
    expect(failed(input)).toContain('TOO_LARGE');
    expect(textOf(input, 'TOO_LARGE')).toContain('asks for 3 CPUs, more than the 2 this host has');
  });

  it('counts SMT siblings as less than two cores', () => {
    const taken = Object.fromEntries(
      [0, 1, 2].flatMap((core) => [
        [core, 1000],
        [core + 4, 300],
      ]),
    );
    const fits = (q90: number) =>
      decide(decideInput(SMT, q90, { occupancy: occupied(taken), limits: limits({ host_load: 1 }) })).fits;
    expect(fits(1.04)).toBe(true);
    expect(fits(1.05)).toBe(false);
  });

  it('that is exclusive owns whole cores, and is told how many are missing', () => {
    const request = channelRequest({ exclusive: true });
    const given = decide(decideInput(SMT, 1.2, { request }));
    expect(given.cpus).toEqual([0, 1, 4, 5].map((cpu) => ({ cpu, shareMilli: 650 })));
    const occupancy = occupied({ 0: 10, 1: 10, 2: 10 });
    const verdict = decide(decideInput(SMT, 1.2, { request, occupancy }));
    expect(verdict.waitingHelps).toBe(true);
    expect(verdict.reasons[0]?.text).toContain('1 more whole free core is needed');
  });
});

describe('a VOD request', () => {
  const vod = (q50: number, more: Partial<DecideInput> = {}) => {
    const request = channelRequest({ channelClass: 'vod', ...more.request });
    const forecasts = candidateCpuCounts(request, EIGHT.schedulable.length).map((c) =>
      forecastOf(c, q50 * 1.25, { q50 }),
    );
    return decideInput(EIGHT, 1, { ...more, request, forecasts });
  };

  it('gets as many whole CPUs as it can use', () => {
    const verdict = decide(vod(3.2));
    expect(verdict.forecast.cpuCount).toBe(4);
    expect(verdict.cpus.map(({ shareMilli }) => shareMilli)).toEqual([1000, 1000, 1000, 1000]);
    expect(verdict.reasons[0]?.text).toContain('can use 4 whole CPUs (0.5 quantile 3.20 cores)');
  });

  it('gets one when it uses less than one', () => {
    expect(decide(vod(0.3)).cpus).toHaveLength(1);
  });

  it('takes fewer when less is free, down to one', () => {
    const taken = (cpus: number) =>
      occupied(Object.fromEntries(Array.from({ length: cpus }, (_, i) => [i, 100])));
    expect(decide(vod(3.2, { occupancy: taken(5) })).cpus).toHaveLength(3);
    expect(decide(vod(3.2, { occupancy: taken(7) })).cpus).toHaveLength(1);
    const none = decide(vod(3.2, { occupancy: taken(8) }));
    expect(none).toMatchObject({ fits: false, waitingHelps: true });
    expect(none.reasons[0]).toMatchObject({ code: 'NO_PLACEMENT', needed: 1000 });
  });

  it('takes fewer rather than go above the load limit', () => {
    expect(decide(vod(8)).cpus).toHaveLength(6);
    expect(decide(vod(8, { limits: limits({ host_load: 0.3 }) })).cpus).toHaveLength(2);
  });

  it('gets exactly the CPUs it names or none', () => {
    const request = channelRequest({ channelClass: 'vod', cpuCount: 3 });
    expect(decide(vod(1, { request })).cpus).toHaveLength(3);
    const crowded = occupied(Object.fromEntries([0, 1, 2, 3, 4, 5].map((cpu) => [cpu, 1])));
    expect(decide(vod(1, { request, occupancy: crowded })).fits).toBe(false);
  });
});

describe('the host load', () => {
  it('adds the channel to what is busy now', () => {
    const most = limits({ host_load: 0.9 });
    expect(failed(decideInput(EIGHT, 1.6, { host: hostState(0.69), limits: most }))).toEqual([]);
    const input = decideInput(EIGHT, 1.6, { host: hostState(0.71), limits: most });
    expect(failed(input)).toEqual(['HOST_LOAD']);
    expect(textOf(input, 'HOST_LOAD')).toBe(
      'would take the host to 91 % load (now 71 % busy, 0 % reserved); the limit is 90 %',
    );
  });

  it('counts channels that are reserved and have not started, without their headroom', () => {
    const reserved = (milli: number) =>
      occupied(Object.fromEntries([0, 1, 2, 3, 4, 5].map((cpu) => [cpu, milli])));
    expect(decide(decideInput(EIGHT, 1.6, { occupancy: reserved(1000) })).fits).toBe(true);
    const tight = decideInput(EIGHT, 1.6, { occupancy: reserved(1000), limits: limits({ host_load: 0.79 }) });
    expect(failed(tight)).toEqual(['HOST_LOAD']);
  });

  it('believes the model where it sees more coming than the sums do', () => {
    const forecasts = [1, 2].map((c) => forecastOf(c, 0.6, { source: 'lstm', hostLoad: 0.95 }));
    const occupancy = occupied({ 0: 990, 1: 200 });
    const verdict = decide(
      decideInput(TWO, 0.6, {
        forecasts,
        occupancy,
        host: hostState(0.5),
        limits: limits({ host_load: 0.9 }),
      }),
    );
    const load = verdict.reasons.find(({ code }) => code === 'HOST_LOAD');
    expect(load).toMatchObject({ passed: false });
    expect(load?.needed).toBeCloseTo(0.95);
    expect(load?.text).toContain('model says 95 %');
  });

  it('is not closed by a model that has gone astray: at most everything reserved is used', () => {
    const forecasts = [1, 2].map((c) => forecastOf(c, 0.4, { source: 'lstm', hostLoad: 5 }));
    const verdict = decide(decideInput(TWO, 0.4, { forecasts }));
    expect(verdict.fits).toBe(true);
    expect(verdict.reasons.find(({ code }) => code === 'HOST_LOAD')?.needed).toBeCloseTo(0.25);
  });

  it('limit that the channel alone would exceed makes waiting useless', () => {
    const verdict = decide(decideInput(TWO, 1.2, { limits: limits({ host_load: 0.5 }) }));
    expect(verdict).toMatchObject({ fits: false, waitingHelps: false });
    expect(verdict.reasons.find(({ passed }) => !passed)?.text).toContain('alone it would be 60 %');
  });

  it('is judged by what is reserved while the host is not measured yet', () => {
    const verdict = decide(decideInput(TWO, 0.4, { host: undefined }));
    expect(verdict.fits).toBe(true);
    expect(verdict.reasons.find(({ code }) => code === 'HOST_LOAD')?.text).toContain('host not measured yet');
  });
});

describe('the other limits', () => {
  const MIB = 2 ** 20;

  it('keep the memory reserve', () => {
    const needed = memoryOf(channelRequest().signature, 1);
    const memory = (available: number) => ({ availableBytes: available, totalBytes: 16 * 2 ** 30 });
    const enough = decideInput(EIGHT, 0.4, { memory: memory(512 * MIB + needed) });
    expect(failed(enough)).toEqual([]);
    const short = decideInput(EIGHT, 0.4, { memory: memory(512 * MIB + needed - 1) });
    expect(failed(short)).toEqual(['MEMORY']);
    expect(decide(short).waitingHelps).toBe(true);
    const never = decideInput(EIGHT, 0.4, { memory: { availableBytes: 0, totalBytes: 512 * MIB } });
    expect(decide(never).waitingHelps).toBe(false);
    expect(failed(decideInput(EIGHT, 0.4, { memory: undefined }))).toEqual([]);
  });

  it('keep the ingress bandwidth, measured or reserved, whichever is more', () => {
    const ingress = (more: Partial<DecideInput>) =>
      decideInput(EIGHT, 0.4, { limits: limits({ ingress_bps: 10e6 }), ...more });
    expect(failed(ingress({ ingressReservedBps: 6e6 }))).toEqual([]);
    expect(failed(ingress({ ingressReservedBps: 7e6 }))).toEqual(['INGRESS']);
    expect(failed(ingress({ host: { ...hostState(0), ingressBps: 7e6 } }))).toEqual(['INGRESS']);
    expect(textOf(ingress({ ingressReservedBps: 7e6 }), 'INGRESS')).toBe(
      "brings in 4.0 Mbit/s; 3.0 Mbit/s of the host's 10.0 Mbit/s is left",
    );
    expect(decide(ingress({ limits: limits({ ingress_bps: 1e6 }) })).waitingHelps).toBe(false);
    expect(failed(decideInput(EIGHT, 0.4, { ingressReservedBps: 1e12 }))).toEqual([]);
  });

  it('keep the number of channels', () => {
    expect(failed(decideInput(EIGHT, 0.4, { channels: 1999 }))).toEqual([]);
    expect(failed(decideInput(EIGHT, 0.4, { channels: 2000 }))).toEqual(['CHANNEL_LIMIT']);
  });

  it('let no request overtake those that wait', () => {
    const input = decideInput(EIGHT, 0.4, { queuedAhead: 2, queued: 3 });
    expect(failed(input)).toEqual(['QUEUE_AHEAD']);
    expect(decide(input)).toMatchObject({ fits: false, waitingHelps: true, cpus: [] });
    expect(textOf(input, 'QUEUE_AHEAD')).toBe('2 requests wait ahead of it, with at least its priority');
  });

  it('mention a full queue only to who would have to wait', () => {
    expect(failed(decideInput(EIGHT, 0.4, { queued: 64 }))).toEqual([]);
    expect(failed(decideInput(EIGHT, 0.4, { queued: 64, queuedAhead: 1 }))).toEqual([
      'QUEUE_AHEAD',
      'QUEUE_FULL',
    ]);
    expect(failed(decideInput(TWO, 1.7, { queued: 64 }))).not.toContain('QUEUE_FULL');
  });

  it('admit nothing while admission is closed, and say why', () => {
    const input = decideInput(EIGHT, 0.4, { closedReason: 'draining for maintenance' });
    expect(failed(input)).toEqual(['ADMISSION_CLOSED']);
    expect(textOf(input, 'ADMISSION_CLOSED')).toBe('no channel is admitted now: draining for maintenance');
  });

  it('are all listed at once, passed or not', () => {
    const input = decideInput(TWO, 1.2, {
      occupancy: occupied({ 0: 900, 1: 900 }),
      channels: 2000,
      closedReason: 'closed',
      queuedAhead: 1,
    });
    expect(failed(input)).toEqual([
      'CPU_SHORT',
      'HOST_LOAD',
      'CHANNEL_LIMIT',
      'QUEUE_AHEAD',
      'ADMISSION_CLOSED',
    ]);
    expect(decide(input).reasons.some(({ code, passed }) => code === 'MEMORY' && passed)).toBe(true);
  });
});

describe('when to ask again', () => {
  it.each([
    [undefined, 5_000],
    [1_234.5, 1_235],
    [0, 250],
    [-5, 250],
    [3_600_000, 60_000],
  ])('with a release expected in %s ms is %i ms', (expected, retry) => {
    const more = expected === undefined ? {} : { expectedReleaseMs: expected };
    expect(decide(decideInput(EIGHT, 0.4, { queuedAhead: 1, ...more })).retryAfterMs).toBe(retry);
  });
});

describe('the memory estimate', () => {
  it('grows with pictures, bit depth, outputs and CPUs', () => {
    const { signature } = channelRequest();
    const one = memoryOf(signature, 1);
    const output = signature.outputs[0]!;
    expect(memoryOf(signature, 4)).toBeGreaterThan(one);
    expect(memoryOf({ ...signature, outputs: [output, output] }, 1)).toBeGreaterThan(one);
    expect(memoryOf({ ...signature, outputs: [{ ...output, bitDepth: 10 }] }, 1)).toBeGreaterThan(one);
    expect(memoryOf({ ...signature, outputs: [{ ...output, preset: 'ultrafast' }] }, 1)).toBeLessThan(one);
  });
});
