/*
 * A process to be killed: reserves and releases through the ledger as fast as it can and says on stdout, after each
 * commit, what was acknowledged. Arguments: directory, label. Compiled by buildLedgerWriter().
 */
import { writeSync } from 'node:fs';
import { systemClock } from '../../src/lib/clock.js';
import { messageOf } from '../../src/lib/errors.js';
import type { LedgerRecord } from '../../src/reservation/ledger-format.js';
import { openLedger } from '../../src/reservation/ledger-open.js';

const [directory = '', label = ''] = process.argv.slice(2);

function pending(id: string, token: number): LedgerRecord {
  return {
    reservation: {
      id,
      state: 'PENDING',
      token,
      name: 'x'.repeat(150),
      channelClass: 'live',
      priority: 50,
      exclusive: false,
      cpus: [{ cpu: 0, shareMilli: 1 }],
      createdMs: Date.now(),
      changedMs: Date.now(),
      deadlineMs: Date.now() + 10_000,
      decisionId: '',
      rung: 0,
      ladderRungs: 0,
      uid: 0,
      reason: 'for a test',
    },
    startTimeoutMs: 10_000,
    sharesGuessed: false,
    restarting: false,
  };
}

/** One of several that write at the same time, so that batches are shared. */
async function write(worker: number): Promise<void> {
  for (let i = 0; ; i++) {
    const id = `${label}-${worker}-${i}`;
    const record = pending(id, ledger.nextToken());
    try {
      await ledger.commit({ records: [record] });
      writeSync(1, `reserved ${id} ${record.reservation.token}\n`);
      if (i % 3 !== 0) continue;
      const { reservation } = record;
      const released = { ...record, reservation: { ...reservation, state: 'RELEASED' as const, cpus: [] } };
      await ledger.commit({ records: [released] });
      writeSync(1, `released ${id} ${record.reservation.token}\n`);
    } catch (error) {
      writeSync(1, `failed ${id} ${messageOf(error)}\n`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const { ledger, report } = await openLedger({
  directory,
  clock: systemClock,
  keepEndedMs: () => 3_600_000,
});
writeSync(1, `open ${report.length} problems ${report.join(' | ')}\n`);
for (let worker = 0; worker < 4; worker++) void write(worker);
