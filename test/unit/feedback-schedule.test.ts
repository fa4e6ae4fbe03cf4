import { describe, expect, it } from 'vitest';
import { configSchema } from '../../src/config/schema.js';
import {
  type HostGlance,
  RETRY_MS,
  type ScheduleFacts,
  tightness,
  trainingTurn,
} from '../../src/feedback/schedule.js';

const NOW_MS = 1_790_000_000_000;
const CALM: HostGlance = { admissionClosed: '', busy: 0.2, queued: 0, starting: 0 };
const config = (more: Partial<ScheduleFacts['config']> = {}) => ({
  ...configSchema.parse({}).training,
  ...more,
});

const facts = (more: Partial<ScheduleFacts> = {}): ScheduleFacts => ({
  nowMs: NOW_MS,
  hour: 3,
  config: config(),
  host: CALM,
  endedMs: NOW_MS - 2 * 86_400_000,
  stoppedMs: undefined,
  newRuns: 60,
  occupied: '',
  ...more,
});

describe('a training by schedule', () => {
  it.each<[string, Partial<ScheduleFacts>]>([
    ['when an interval has passed and enough runs have come', {}],
    ['when none was ever done', { endedMs: undefined }],
    ['in one of its hours', { config: config({ hours: '1-5,22' }) }],
    [
      'when one was stopped a while ago, however few runs came since',
      { stoppedMs: NOW_MS - RETRY_MS, newRuns: 0 },
    ],
    ['up to its host load', { host: { ...CALM, busy: 0.6 } }],
  ])('begins %s', (_, more) => {
    expect(trainingTurn(facts(more))).toEqual({ turn: 'train' });
  });

  it.each<[string, Partial<ScheduleFacts>, string]>([
    ['it is switched off', { config: config({ schedule: false }) }, 'training.schedule is off'],
    ['another is under way', { occupied: 'a training is under way' }, 'a training is under way'],
    ['the last one ended lately', { endedMs: NOW_MS - 3_600_000 }, 'the last training ended 60 min ago'],
    ['one was just stopped', { stoppedMs: NOW_MS - 60_000 }, 'the last training was stopped 1 min ago'],
    ['few runs came', { newRuns: 49 }, '49 of 50 new runs'],
    ['it is not its hour', { hour: 12, config: config({ hours: '1-5' }) }, 'hour 12 is not one of 1-5'],
    ['nothing was measured yet', { host: { ...CALM, busy: undefined } }, 'the monitor has no sample yet'],
  ])('waits while %s', (_, more, reason) => {
    expect(trainingTurn(facts(more))).toEqual({ turn: 'wait', reason });
  });

  it.each<[string, Partial<HostGlance>, string, string]>([
    [
      'the host is busy',
      { busy: 0.61 },
      'busy',
      'skipped: the host is 61 % busy; training.host_load is 60 %',
    ],
    [
      'admission is closed',
      { admissionClosed: 'channels fall behind' },
      'closed',
      'skipped: admission is closed: channels fall behind',
    ],
    ['requests wait for room', { queued: 2 }, 'queue', 'skipped: 2 requests wait for room'],
    ['channels are starting', { starting: 3 }, 'starting', 'skipped: 3 channels are starting'],
  ])('is skipped, with the reason, while %s', (_, host, code, reason) => {
    expect(trainingTurn(facts({ host: { ...CALM, ...host } }))).toEqual({ turn: 'skip', code, reason });
  });

  it('is tried again sooner than the retry time where the interval is shorter', () => {
    const short = config({ interval_ms: 2_000 });
    expect(trainingTurn(facts({ config: short, stoppedMs: NOW_MS - 2_000 }))).toEqual({ turn: 'train' });
  });
});

describe('a training that runs', () => {
  it('goes on while channels start: they have their room', () => {
    expect(tightness({ ...CALM, starting: 5 }, config())).toBeUndefined();
  });

  it('stops when the host is busy, requests wait or admission is closed', () => {
    expect(tightness({ ...CALM, busy: 0.7 }, config())?.code).toBe('busy');
    expect(tightness({ ...CALM, queued: 1 }, config())?.code).toBe('queue');
    expect(tightness({ ...CALM, admissionClosed: 'x' }, config())?.code).toBe('closed');
  });
});
