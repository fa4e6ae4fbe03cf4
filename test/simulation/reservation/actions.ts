import { isCorecastError, messageOf } from '../../../src/lib/errors.js';
import type { WriteFault } from './disk.js';
import type { Holder } from './holders.js';
import type { Scenario } from './scenario.js';
import { startOf } from './start-of.js';

type Action = (scenario: Scenario) => void;

/** What can be done to a host, and how often it is, out of the sum. */
const ACTIONS: readonly (readonly [weight: number, action: Action])[] = [
  [9, arrive],
  [5, repeat],
  [9, attach],
  [2, attachStale],
  [3, release],
  [2, releaseStale],
  [9, heartbeat],
  [2, announceRestart],
  [2, closeSession],
  [5, endProcess],
  [1, holderDies],
  [1, hangUp],
  [2, cloneThread],
  [1, foreignTaskset],
  [3, strangerStarts],
  [3, resize],
  [2, growOverVod],
  [1, toggleCpu],
  [1, jumpWallClock],
  [3, writesFail],
  [1, opensFail],
  [1, diskSlow],
  [1, kernelRefuses],
  [5, killSoon],
  [1, kill],
  [1, powerCut],
  [1, rot],
  [1, stopOrderly],
];
const TOTAL = ACTIONS.reduce((sum, [weight]) => sum + weight, 0);

export function act(scenario: Scenario): void {
  let at = scenario.chance.below(TOTAL);
  for (const [weight, action] of ACTIONS) {
    at -= weight;
    if (at >= 0) continue;
    action(scenario);
    return;
  }
}

function arrive(scenario: Scenario): void {
  const { chance } = scenario;
  scenario.arrive({
    milli: chance.between(1, 24) * 50,
    cpuCount: chance.of([0, 0, 1, 2])!,
    exclusive: chance.hits(0.2),
    waitMs: chance.of([0, 0, 4_000])!,
    vod: chance.hits(0.25),
  });
}

/** Any call that a holder ever made, once more: a retry, or the network's second copy, however late. */
function repeat(scenario: Scenario): void {
  const call = scenario.chance.of(scenario.holders.flatMap(({ calls }) => calls));
  if (call !== undefined) scenario.send(call);
}

function attach(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder === undefined) return;
  const process = running(scenario, holder);
  if (process !== undefined) scenario.send(holder.attach(process, holder.token));
}

function attachStale(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder === undefined) return;
  const process = running(scenario, holder);
  if (process !== undefined) scenario.send(holder.attach(process, staleToken(scenario, holder)));
}

function release(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder !== undefined) scenario.send(holder.release(holder.token));
}

function releaseStale(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder !== undefined) scenario.send(holder.release(staleToken(scenario, holder)));
}

function heartbeat(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder !== undefined) scenario.send(holder.heartbeat(holder.token, false));
}

function announceRestart(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder !== undefined) scenario.send(holder.heartbeat(holder.token, true));
}

function closeSession(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder === undefined) return;
  scenario.say(`${holder.name} closes its session`);
  holder.closeSession();
}

function endProcess(scenario: Scenario): void {
  const process = scenario.chance.of([...scenario.kernel.processes]);
  if (process === undefined) return;
  scenario.say(`process ${process.pid} ends`);
  scenario.kernel.exit(process);
}

/** Its process may go on. Whether its session is seen to end is up to the network. */
function holderDies(scenario: Scenario): void {
  const holder = oneHolding(scenario);
  if (holder === undefined) return;
  scenario.say(`${holder.name} dies`);
  holder.gone = true;
  if (scenario.chance.hits(0.5)) holder.closeSession();
  if (scenario.chance.hits(0.5)) holder.line.hangUp();
  if (scenario.chance.hits(0.5) && holder.process !== undefined) scenario.kernel.exit(holder.process);
}

function hangUp(scenario: Scenario): void {
  const holder = scenario.chance.of(scenario.holders);
  if (holder === undefined) return;
  scenario.say(`${holder.name} hangs up`);
  holder.line.hangUp();
}

function cloneThread(scenario: Scenario): void {
  const process = scenario.chance.of([...scenario.kernel.processes]);
  if (process !== undefined) scenario.kernel.clone(process);
}

function foreignTaskset({ chance, kernel, machine }: Scenario): void {
  const process = chance.of([...kernel.processes]);
  const cpu = chance.of(machine.online);
  if (process === undefined || cpu === undefined) return;
  process.threads.set(chance.of([...process.threads.keys()])!, [cpu]);
  kernel.disturbed = true;
}

/** Somebody else's process, perhaps with a pid that a reservation names. */
function strangerStarts({ kernel, machine }: Scenario): void {
  kernel.spawn(0, machine.online);
}

/** What the adjuster does: other CPUs, or other shares, or both. */
function resize(scenario: Scenario): void {
  const { serving, chance, machine, witness } = scenario;
  const id = chance.of(serving?.reservations.list(false) ?? [])?.id;
  const cpu = chance.of(machine.topology.schedulable);
  if (serving === undefined || id === undefined || cpu === undefined) return;
  const shareMilli = chance.between(1, 20) * 50;
  scenario.say(`the adjuster gives ${id} ${shareMilli} thousandths of CPU ${cpu}`);
  serving.reservations.resize(id, [{ cpu, shareMilli }], 'moved', 'for a test').catch((error) => {
    if (serving.life.dead || isCorecastError(error)) return;
    witness.violated(`resize failed with ${messageOf(error)}`);
  });
}

/** What the adjuster does for a live channel that is late. */
function growOverVod(scenario: Scenario): void {
  const { serving, chance, witness } = scenario;
  const id = chance.of(serving?.reservations.list(false) ?? [])?.id;
  if (serving === undefined || id === undefined) return;
  const sharesMilli = Array.from({ length: chance.between(1, 2) }, () => chance.between(6, 20) * 50);
  scenario.say(`the adjuster wants ${sharesMilli} thousandths for ${id}, over VOD`);
  serving.reservations.growOverVod(id, sharesMilli, 'for a test').catch((error) => {
    if (serving.life.dead || isCorecastError(error)) return;
    witness.violated(`growing over VOD failed with ${messageOf(error)}`);
  });
}

function toggleCpu(scenario: Scenario): void {
  const { machine, kernel, chance, serving } = scenario;
  const { cpu } = chance.of(machine.topology.cpus.filter(({ housekeeping }) => !housekeeping))!;
  machine.toggle(cpu);
  kernel.cpusChanged();
  scenario.say(`CPU ${cpu} goes or comes: now ${machine.topology.schedulable}`);
  serving?.reservations.capacityChanged();
}

function jumpWallClock(scenario: Scenario): void {
  scenario.say('the wall clock jumps');
  scenario.timeline.jumpWallClock(scenario.chance.of([-90_000, 90_000])!);
}

const FAULTS: readonly WriteFault[] = ['refused', 'cached', 'kept'];

function writesFail(scenario: Scenario): void {
  const { chance, disk } = scenario;
  for (let i = chance.between(1, 3); i > 0; i--) disk.faults.push(chance.of(FAULTS)!);
  scenario.say(`the next writes fail: ${disk.faults}`);
}

function opensFail({ chance, disk }: Scenario): void {
  disk.failingOpens = chance.between(1, 2);
}

function diskSlow({ disk }: Scenario): void {
  disk.slow = !disk.slow;
}

function kernelRefuses({ kernel, chance }: Scenario): void {
  kernel.refusals = chance.between(1, 4);
}

function killSoon({ life, chance }: Scenario): void {
  life.light(chance.between(0, 12));
}

function kill({ life }: Scenario): void {
  life.kill();
}

function powerCut(scenario: Scenario): void {
  scenario.say('the power goes');
  scenario.life.kill();
  scenario.disk.powerCut();
  scenario.kernel.reboot();
}

/** Found at the next start. What was lost, its holder announces, if it still has a session to do it in. */
function rot(scenario: Scenario): void {
  if (!scenario.chance.hits(0.3)) return;
  scenario.life.kill();
  const key = scenario.disk.rot();
  if (key === undefined) return;
  scenario.say(`the disk damages ${key}`);
  scenario.witness.lost(key);
}

function stopOrderly(scenario: Scenario): void {
  scenario.stopOrderly();
}

function oneHolding({ chance, holders }: Scenario): Holder | undefined {
  return chance.of(holders.filter(({ id, gone }) => id !== undefined && !gone));
}

/** A token that was in force once, or never. */
function staleToken({ chance }: Scenario, { tokens }: Holder): number {
  return chance.of([...tokens.slice(0, -1), tokens.at(-1)! - 1])!;
}

/** The one that it has, or a new one. */
function running(scenario: Scenario, holder: Holder): Holder['process'] {
  if (holder.process?.alive === true && scenario.chance.hits(0.8)) return holder.process;
  return startOf(scenario, holder);
}
