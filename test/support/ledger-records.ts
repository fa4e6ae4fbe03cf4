import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import type { LedgerRecord } from '../../src/reservation/ledger-format.js';
import { type LedgerOptions, openLedger } from '../../src/reservation/ledger-open.js';
import type { Reservation } from '../../src/reservation/reservation.js';

/** A directory that is gone after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'corecast-reservation-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function open(directory: string, options: Partial<LedgerOptions> = {}) {
  return openLedger({ directory, clock: systemClock, keepEndedMs: () => 3_600_000, ...options });
}

export function record(
  id: string,
  fields: Partial<Reservation> = {},
  more: Partial<LedgerRecord> = {},
): LedgerRecord {
  return {
    reservation: {
      id,
      state: 'PENDING',
      token: 1,
      name: `channel ${id}`,
      channelClass: 'live',
      priority: 50,
      exclusive: false,
      cpus: [{ cpu: 0, shareMilli: 250 }],
      createdMs: 1_800_000_000_000,
      changedMs: 1_800_000_000_000,
      deadlineMs: 1_800_000_010_000,
      decisionId: `decision-${id}`,
      rung: 0,
      ladderRungs: 0,
      uid: 1000,
      reason: 'for a test',
      ...fields,
    },
    startTimeoutMs: 10_000,
    sharesGuessed: false,
    restarting: false,
    ...more,
  };
}

export function ended(id: string, fields: Partial<Reservation> = {}): LedgerRecord {
  return record(id, { state: 'RELEASED', cpus: [], deadlineMs: 0, ...fields });
}
