import { describe, expect, it } from 'vitest';
import { type ChannelView, deviationOf } from '../../src/adjuster/deviation.js';
import { type Place, type PlanLimits, plan } from '../../src/adjuster/plan.js';

const limits: PlanLimits = { headroom: 0.2, sustainMs: 5_000, restoreMs: 30_000, cooldownMs: 15_000 };

/** A live channel that does what was forecast: 0.4 of 0.5 reserved cores. */
const steady: ChannelView = {
  reserved: [{ cpu: 0, shareMilli: 500 }],
  live: true,
  rung: 0,
  ladderRungs: 0,
  usageCores: 0.38,
  speed: 1,
  lagSeconds: 0,
  forecastQ90Cores: 0.4,
  admittedMilli: 500,
  demandByRung: [0.38],
  idleCores: 0.5,
  deviatingMs: 0,
  calmMs: 0,
  sinceChangeMs: 60_000,
};
const late: ChannelView = { ...steady, usageCores: 0.5, speed: 0.8, lagSeconds: 2, deviatingMs: 6_000 };

const roomFor =
  (milli: number): Place =>
  (shares) =>
    shares.reduce((sum, share) => sum + share, 0) <= milli + shares.length
      ? shares.map((shareMilli, cpu) => ({ cpu, shareMilli }))
      : undefined;

describe('deviationOf', () => {
  const rows: [string, Partial<ChannelView>, RegExp | undefined][] = [
    ['a channel within its forecast', {}, undefined],
    ['slower than real time', { speed: 0.9 }, /speed 0\.90/],
    ['behind real time though fast again', { lagSeconds: 3 }, /3\.0 s behind/],
    ['filling its reservation', { usageCores: 0.49, forecastQ90Cores: 0.49 }, /0\.49 of 0\.50 reserved/],
    ['above its forecast, below its reservation', { usageCores: 0.46 }, /forecast 0\.9 quantile 0\.40/],
    [
      'without the CPU to read its input in time',
      { idleCores: 0, now: { usageCores: 0.3, waitCores: 0, lostPackets: 7 } },
      /loses its input: 7 packets/,
    ],
    [
      'losing packets though its CPUs have time',
      { now: { usageCores: 0.3, waitCores: 0, lostPackets: 7 } },
      undefined,
    ],
    ['a VOD job that uses all it has', { live: false, usageCores: 0.5 }, undefined],
  ];
  it.each(rows)('%s', (_what, change, expected) => {
    const deviation = deviationOf({ ...steady, ...change });
    if (expected === undefined) expect(deviation).toBeUndefined();
    else expect(deviation).toMatch(expected);
  });
});

describe('plan', () => {
  it('leaves a steady channel alone', () => {
    expect(plan(steady, limits, roomFor(2_000)).action).toBe('none');
  });

  it('waits until a deviation has lasted', () => {
    expect(plan({ ...late, deviatingMs: 4_999 }, limits, roomFor(2_000)).action).toBe('none');
  });

  it('grows to the demand at real time plus headroom when there is room', () => {
    const next = plan(late, limits, roomFor(2_000));
    // 0.5 cores at speed 0.8 are 0.625 at real time; with 20 % headroom 782 thousandths.
    expect(next).toMatchObject({ action: 'grow', cpus: [{ cpu: 0, shareMilli: 782 }] });
  });

  it('does not wait where its CPU is full of its own work', () => {
    const pressed: ChannelView = {
      ...steady,
      reserved: [{ cpu: 0, shareMilli: 1_000 }],
      // The mean of five seconds knows little of it yet.
      ...{ usageCores: 0.3, forecastQ90Cores: 0.4, idleCores: 0.01, deviatingMs: 0 },
      now: { usageCores: 0.99, waitCores: 1.3 },
    };
    const next = plan(pressed, limits, roomFor(2_000));
    expect(next).toMatchObject({ action: 'grow', reason: expect.stringContaining('1.3 threads wait') });
    const milli = 'cpus' in next ? next.cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0) : 0;
    expect(milli).toBeGreaterThanOrEqual(1_237);
    const changes: Partial<ChannelView>[] = [
      { now: { usageCores: 0.8, waitCores: 1.3 } }, // somebody else's work
      { idleCores: 0.2 },
      { live: false },
      { sinceChangeMs: 14_000 },
    ];
    for (const change of changes)
      expect(plan({ ...pressed, ...change }, limits, roomFor(2_000)).action).toBe('none');
    // Who shares may fill the CPUs: only far above its own forecast is it the cause.
    const shared = { needMilli: 600, shortMilli: 0 };
    const among: Place = () => [{ cpu: 1, shareMilli: 1_000 }];
    expect(plan({ ...pressed, shared, forecastQ90Cores: 0.9 }, limits, among).action).toBe('none');
    expect(plan({ ...pressed, shared }, limits, among).action).toBe('move');
  });

  it('grows to the forecast of an input that has changed, before the channel uses it', () => {
    const changed: ChannelView = { ...steady, forecastQ90Cores: 0.8, deviatingMs: 6_000 };
    expect(plan(changed, limits, roomFor(2_000)).action).toBe('none');
    const next = plan({ ...changed, forecastAnew: true }, limits, roomFor(2_000));
    expect(next).toMatchObject({ action: 'grow', cpus: [{ cpu: 0, shareMilli: 1_000 }] });
    expect('reason' in next && next.reason).toContain(
      'its input has changed: the forecast is now 0.80 of 0.50',
    );
    const late = { ...changed, forecastAnew: true, ladderRungs: 2 };
    // It is on time: no rung is worth it yet.
    expect(plan(late, limits, () => undefined).action).toBe('none');
  });

  it('leaves CPUs that somebody else keeps busy, as it is, for idle ones', () => {
    const squeezed: ChannelView = {
      ...late,
      reserved: [{ cpu: 0, shareMilli: 1_000 }],
      ...{ usageCores: 0.3, speed: 0.4, idleCores: 0, ladderRungs: 1 },
      now: { usageCores: 0.3, waitCores: 1 },
    };
    const idle: Place = (shares, onlyIdle) =>
      onlyIdle === true ? shares.map((shareMilli) => ({ cpu: 3, shareMilli })) : undefined;
    expect(plan(squeezed, limits, idle)).toEqual({
      action: 'move',
      cpus: [{ cpu: 3, shareMilli: 1_000 }],
      reason: 'speed 0.40 is below real time; others keep its CPUs busy',
    });
    // Its own work fills them: other CPUs would be no better.
    const own = { ...squeezed, usageCores: 1, now: { usageCores: 1, waitCores: 1 } };
    expect(plan(own, limits, idle).action).toBe('degrade');
    expect(plan({ ...squeezed, deviatingMs: 4_999 }, limits, idle).action).toBe('none');
    expect(plan(squeezed, limits, () => undefined).action).toBe('degrade');
  });

  it('takes room from VOD before it degrades, as much as real time needs, and only where the channel is late', () => {
    const asked: (readonly number[])[] = [];
    const overVod = (shares: readonly number[]) => asked.push(shares) > 0;
    const next = plan(late, limits, () => undefined, overVod);
    expect(next).toMatchObject({ action: 'preempt', sharesMilli: asked[0] });
    // 0.5 cores at speed 0.8 are 0.625 at real time; with 20 % headroom 782 thousandths.
    expect(asked[0]).toEqual([782]);
    const ladder = { ...late, ladderRungs: 2 };
    expect(plan(ladder, limits, () => undefined, overVod).action).toBe('preempt');
    expect(
      plan(
        ladder,
        limits,
        () => undefined,
        () => false,
      ).action,
    ).toBe('degrade');
    const onTime = { ...late, speed: 1, lagSeconds: 0 };
    expect(plan(onTime, limits, () => undefined, overVod).action).toBe('none');
  });

  it('degrades by one rung when there is no room', () => {
    const next = plan({ ...late, ladderRungs: 2 }, limits, roomFor(500));
    expect(next).toMatchObject({ action: 'degrade', rung: 1 });
  });

  it('does not degrade a channel that keeps real time', () => {
    const view = { ...late, speed: 1, lagSeconds: 0, usageCores: 0.5, ladderRungs: 2 };
    expect(plan(view, limits, roomFor(500)).action).toBe('none');
  });

  it('says so when neither CPUs nor rungs are left', () => {
    expect(plan({ ...late, rung: 2, ladderRungs: 2 }, limits, roomFor(500)).action).toBe('overloaded');
  });

  it('takes the next step after a growth that did not help without waiting for the cool-down', () => {
    const soon = { ...late, ladderRungs: 1, sinceChangeMs: 6_000, grew: true };
    expect(plan(soon, limits, roomFor(500))).toMatchObject({ action: 'degrade' });
    expect(plan({ ...soon, grew: false }, limits, roomFor(500)).action).toBe('none');
  });

  it('is not degraded for a moment that it makes up for, nor before its time', () => {
    const ladder = { ...late, ladderRungs: 1 };
    expect(plan({ ...ladder, lagSeconds: 0.3 }, limits, roomFor(500)).action).toBe('none');
    expect(plan({ ...ladder, lagSeconds: 0.5 }, limits, roomFor(500)).action).toBe('degrade');
    const patient = { ...limits, degradeMs: 7_000 };
    expect(plan(ladder, patient, roomFor(500)).action).toBe('none');
    expect(plan({ ...ladder, deviatingMs: 7_000 }, patient, roomFor(500)).action).toBe('degrade');
  });

  it('leaves out rungs that did not help, down and up, but never full quality', () => {
    const ladder = { ...late, ladderRungs: 3, unhelpful: [1] };
    expect(plan(ladder, limits, roomFor(500))).toMatchObject({ action: 'degrade', rung: 2 });
    expect(plan({ ...ladder, ladderRungs: 1 }, limits, roomFor(500)).action).toBe('overloaded');
    const calm: ChannelView = {
      ...steady,
      rung: 2,
      ladderRungs: 3,
      unhelpful: [1],
      usageCores: 0.2,
      demandByRung: [0.6, 0.6, 0.2],
      calmMs: 31_000,
    };
    expect(plan(calm, limits, roomFor(2_000))).toMatchObject({ action: 'restore', rung: 0 });
  });

  it('restores a rung only when what that rung cost fits', () => {
    const degraded: ChannelView = {
      ...steady,
      rung: 1,
      ladderRungs: 1,
      usageCores: 0.2,
      demandByRung: [0.6, 0.2],
      calmMs: 31_000,
    };
    expect(plan(degraded, limits, roomFor(700)).action).toBe('none');
    expect(plan(degraded, limits, roomFor(750))).toMatchObject({ action: 'restore', rung: 0 });
    expect(plan({ ...degraded, calmMs: 29_000 }, limits, roomFor(750)).action).toBe('none');
    // Room in the ledger, but somebody who never reserved uses the CPU: the better rung would fall back at once.
    expect(plan({ ...degraded, idleCores: 0.3 }, limits, roomFor(750)).action).toBe('none');
  });

  it('shrinks back to what was admitted after a long calm, never below it', () => {
    const grown: ChannelView = { ...steady, reserved: [{ cpu: 0, shareMilli: 1_000 }], calmMs: 31_000 };
    expect(plan(grown, limits, roomFor(2_000))).toMatchObject({
      action: 'shrink',
      cpus: [{ cpu: 0, shareMilli: 500 }],
    });
    expect(plan({ ...grown, admittedMilli: 1_000 }, limits, roomFor(2_000)).action).toBe('none');
  });

  it('does nothing during the cool-down after a change', () => {
    expect(plan({ ...late, sinceChangeMs: 14_999 }, limits, roomFor(2_000)).action).toBe('none');
  });
});

describe('a channel that shares its CPUs', () => {
  const calm = { needMilli: 450, shortMilli: 0 };
  const short = { needMilli: 800, shortMilli: 600 };

  it('may use more than its part while all together need no more than they were promised', () => {
    expect(deviationOf({ ...steady, usageCores: 0.9, shared: calm })).toBeUndefined();
    expect(deviationOf({ ...steady, usageCores: 0.9, shared: short })).toMatch(
      /need 0\.60 more than they were promised/,
    );
    expect(deviationOf({ ...steady, usageCores: 0.3, shared: short })).toBeUndefined();
  });

  it('gets more where they need more, or others of the CPUs when it is late', () => {
    const under = { ...steady, usageCores: 0.9, shared: short, deviatingMs: 6_000 };
    expect(plan(under, limits, roomFor(900))).toMatchObject({
      action: 'grow',
      cpus: [{ cpu: 0, shareMilli: 800 }],
    });
    const elsewhere: Place = ([milli]) => [1, 2].map((cpu) => ({ cpu, shareMilli: milli! / 2 }));
    expect(plan({ ...late, shared: calm }, limits, elsewhere)).toMatchObject({ action: 'move' });
    const wider: Place = ([milli]) => [0, 1].map((cpu) => ({ cpu, shareMilli: milli! / 2 }));
    expect(plan({ ...late, shared: calm }, limits, wider)).toMatchObject({ action: 'grow' });
  });

  it('is degraded when no CPUs would help, and says so when it cannot be', () => {
    const same: Place = ([milli]) => [{ cpu: 0, shareMilli: milli! }];
    const stuck = { ...late, shared: calm };
    expect(plan({ ...stuck, ladderRungs: 1 }, limits, same)).toMatchObject({ action: 'degrade', rung: 1 });
    expect(plan(stuck, limits, () => undefined)).toMatchObject({ action: 'overloaded' });
  });

  it('keeps what it does not need until somebody asks for it', () => {
    const idle = {
      ...steady,
      usageCores: 0.05,
      calmMs: 600_000,
      admittedMilli: 10,
      shared: { ...calm, needMilli: 60 },
    };
    expect(plan(idle, limits, roomFor(900))).toEqual({ action: 'none' });
  });
});
