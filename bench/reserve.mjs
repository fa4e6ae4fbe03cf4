/**
 * Reserve, end to end: a corecastd of its own, asked over its unix socket, every answer durable; and in the same run what
 * cannot be avoided: an RPC of the same messages to a server that does nothing, a synced LevelDB put of as many bytes, a
 * run of the model on the same batch.
 *
 *   npm run -s bench -- reserve [--json] [--rounds 1000] [--bursts 40] [--dir /tmp]
 *
 * One client: echo, put, model and Reserve in turns, so that all meet the same machine. 32 clients: each a connection of
 * its own, all in this process; each asks --each times, one after the other, of the daemon and of the echo server in turns.
 * Channels are released between, outside the measured times. Nothing that was refused is counted: a refusal fails the run.
 *
 * ratio_to_floor: Reserve's p50 over the sum of the three p50s; p99_ratio_to_floor: its p99 over the same sum;
 * p99_ratio_to_floor_p99: its p99 over that of the sum of each round's three, which meet the same disk and neighbours.
 * lost_after_kill: reservations of the last burst that are not in the ledger after SIGKILL of the daemon.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { burst, openClients, releaseAll, requestOf, SIGNATURE } from './reserve/clients.mjs';
import { readLedger, spawnServer, startDaemon } from './reserve/daemon.mjs';
import { openModelRun, openPut } from './reserve/floor.mjs';

const CLIENTS = 32;
const WARM_UP = 300;
const WARM_UP_BURSTS = 10;
const ECHO_SERVER = fileURLToPath(new URL('./reserve/echo-server.mjs', import.meta.url));

export async function run({ rounds = 1_000, bursts = 40, each = 4, dir = tmpdir() } = {}) {
  const root = mkdtempSync(join(dir, 'corecast-bench-reserve-'));
  try {
    return await measure(root, { rounds: Number(rounds), bursts: Number(bursts), each: Number(each) });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function measure(root, options) {
  const sample = await firstAnswer(subdirectory(root, 'sample'));
  const answerFile = join(root, 'answer.json');
  writeFileSync(answerFile, JSON.stringify(sample.answer));
  const echo = await spawnServer([ECHO_SERVER, join(root, 'echo.sock'), answerFile], join(root, 'echo.sock'));
  const home = subdirectory(root, 'daemon');
  const daemon = await startDaemon(home);
  try {
    const one = await oneClient(root, { echo, daemon, sample, rounds: options.rounds });
    const many = await manyClients({ echo, daemon, ...options });
    const lost = await lostAfterKill(daemon, home, options.each);
    return report(one, many, { sample, lost });
  } finally {
    await echo.stop();
    await daemon.kill();
  }
}

/** What the daemon answers, and how much it writes for that, from a daemon that is asked once and stopped. */
async function firstAnswer(dir) {
  const daemon = await startDaemon(dir);
  const [client] = await openClients(daemon.socket, 1);
  const answer = await client.reserve(requestOf());
  const { cpus } = await client.getHost({});
  client.close();
  await daemon.stop();
  const { bytesOfReserve } = await readLedger(dir);
  const candidates = answer.decision.candidates.map(({ cpuCount }) => cpuCount);
  const schedulableCpus = cpus.filter(({ online, housekeeping }) => online && !housekeeping).length;
  return { answer, bytesOfReserve, candidates, schedulableCpus };
}

async function oneClient(root, { echo, daemon, sample, rounds }) {
  const put = await openPut(root, sample.bytesOfReserve);
  const model = await openModelRun(root, { signature: domainSignature(), ...sample });
  const [echoClient] = await openClients(echo.socket, 1);
  const [client] = await openClients(daemon.socket, 1);
  const times = { echo: [], put: [], model: [], reserve: [] };
  for (let round = -WARM_UP; round < rounds; round++) {
    const found = {
      echo: await timed(() => echoClient.reserve(requestOf())),
      put: await timed(put.run),
      model: await timed(model.run),
      reserve: await timed(() => client.reserve(requestOf())),
    };
    await releaseAll(client, [found.reserve.result.reservation]);
    if (round >= 0) for (const [what, { ms }] of Object.entries(found)) times[what].push(ms);
  }
  echoClient.close();
  client.close();
  await put.close();
  model.close();
  return times;
}

async function manyClients({ echo, daemon, bursts, each }) {
  const echoClients = await openClients(echo.socket, CLIENTS);
  const clients = await openClients(daemon.socket, CLIENTS);
  const spent = { echo: 0, reserve: 0 };
  for (let n = -WARM_UP_BURSTS; n < bursts; n++) {
    const bare = await burst(echoClients, each);
    const real = await burst(clients, each);
    await Promise.all(clients.map((client, i) => releaseAll(client, real.reserved[i])));
    if (n < 0) continue;
    spent.echo += bare.ms;
    spent.reserve += real.ms;
  }
  for (const client of [...echoClients, ...clients]) client.close();
  const calls = bursts * each * CLIENTS;
  return { echoPerSecond: calls / (spent.echo / 1000), perSecond: calls / (spent.reserve / 1000) };
}

/** An answer is a promise that survives the daemon. */
async function lostAfterKill(daemon, home, each) {
  const clients = await openClients(daemon.socket, CLIENTS);
  const { reserved } = await burst(clients, each);
  for (const client of clients) client.close();
  await daemon.kill();
  const { reservations } = await readLedger(home);
  return reserved.flat().filter(({ id, token }) => reservations.get(id)?.token !== token).length;
}

function report(one, many, { sample, lost }) {
  const [echo, put, model, p50] = ['echo', 'put', 'model', 'reserve'].map((what) => quantile(one[what], 0.5));
  const floor = echo + put + model;
  const p99 = quantile(one.reserve, 0.99);
  const floorP99 = quantile(
    one.echo.map((ms, round) => ms + one.put[round] + one.model[round]),
    0.99,
  );
  return {
    rows: [
      ...Object.entries(one).map(([what, ms]) => ({
        what: `one client: ${what}`,
        p50_ms: quantile(ms, 0.5),
        p99_ms: quantile(ms, 0.99),
        per_second: 1000 / mean(ms),
      })),
      { what: `${CLIENTS} clients: echo`, per_second: many.echoPerSecond },
      { what: `${CLIENTS} clients: reserve`, per_second: many.perSecond },
    ],
    figures: {
      p50_ms: p50,
      p99_ms: p99,
      per_second: many.perSecond,
      echo_ms: echo,
      sync_put_ms: put,
      model_ms: model,
      floor_ms: floor,
      ratio_to_floor: p50 / floor,
      p99_ratio_to_floor: p99 / floor,
      floor_p99_ms: floorP99,
      p99_ratio_to_floor_p99: p99 / floorP99,
      echo_per_second: many.echoPerSecond,
      share_of_echo_rate: many.perSecond / many.echoPerSecond,
      lost_after_kill: lost,
      bytes_of_reserve: sample.bytesOfReserve,
      model_batch: sample.candidates.length,
    },
  };
}

function domainSignature() {
  const [{ bitrateBps, ...output }] = SIGNATURE.outputs;
  return { input: SIGNATURE.input, outputs: [{ ...output, rate: { bitrateBps } }], complexity: {} };
}

function subdirectory(root, name) {
  const dir = join(root, name);
  mkdirSync(dir);
  return dir;
}

async function timed(work) {
  const startedMs = performance.now();
  const result = await work();
  return { ms: performance.now() - startedMs, result };
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

function mean(values) {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
