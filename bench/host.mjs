/**
 * More channels on the same host, none of them late: real live channels (FFmpeg -re) on this host under what operators do
 * today and under corecast, one after the other, each with the same seeded arrivals. Channels are small and mixed (bench/
 * host/kinds.mjs, about 0.1 cores), live for 80-160 s and are `channels` a CPU at once if all are let in, more than it
 * carries; who is refused does not come back.
 *
 *   npm run -s bench -- host [--json] [--quick] [--inputs A.mp4,B.ts] [--seconds 120] [--seed 1] [--channels 14]
 *     [--policies no_admission,count_cap,mean_cpu,corecast] [--calibrate 16] [--results FILE.jsonl] [--minutes M] [--rows FILE.jsonl]
 *
 * About 15 minutes on 2 CPUs; --quick, a smoke test, 2. Use a quiet host. --results keeps each run in a file and does not
 * repeat what is there, so that the policies can be measured in pieces; --minutes begins no run that would not end by then.
 * --rows: each channel under corecast (why it was refused, or its report and the daemon's record of it), then each second.
 *
 * Late: bench/host/lateness.mjs, by packets' times; more than 1 s behind (LATE_LAG_S of the adjuster). channels_on_time: mean
 * number of channels that ran once the host was full, 0 where more than 0.1 % of a run's channel seconds were late.
 * most_at_once: most in any 10 s before that much was late. utilisation: busy share of the CPUs. count_cap and mean_cpu get
 * the best of the settings tried on this very sequence, which favours them; they and no_admission run FFmpeg with its own
 * threads. corecast is the daemon as it ships behind `corecast run`, calibrated first by a few runs, and then has a second
 * part: a neighbour that takes half of the CPUs for 20 s (burst_*: from then on until 10 s after it).
 */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drawSequence } from './host/channels.mjs';
import { Corecast, PEERS } from './host/policies.mjs';
import { NEIGHBOUR_S, RECOVERY_S, runRamp } from './host/ramp.mjs';
import { burstOf, compare, costsOf, forecastsOf, outcomeOf } from './host/score.mjs';
import { calibrate, dist } from './live/daemon.mjs';

const { LATE_LAG_S } = await import(`${dist}/adjuster/deviation.js`);
const { allowedCpus } = await import(`${dist}/client/host-glance.js`);
const { seededRandom } = await import(`${dist}/feedback/random.js`);

const LIFE_S = { least: 80, most: 160 };
const QUICK = {
  seconds: 30,
  channelsPerCpu: 8,
  calibrate: 2,
  lifeS: { least: 20, most: 40 },
  fillS: 10,
  tries: 1,
};
/** Most settings of a rule that are tried: a rule that is still late then counts as late. */
const MOST_TRIES = 12;

export async function run(given) {
  const options = optionsOf(given);
  // The channels and the daemon are stopped, too.
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort(new Error(signal)));
  options.signal = stop.signal;
  const bench = new Bench(options, await sequenceOf(options));
  for (const kind of PEERS) {
    if (options.policies.includes(kind.name)) await bench.tune(kind);
  }
  if (options.policies.includes('corecast')) await bench.corecast();
  const { figures, peers } = compare(bench.outcomes);
  return {
    rows: bench.outcomes.map(rowOf),
    figures: { ...figures, cpus: options.cpus, seconds: options.seconds, seed: options.seed },
    peers,
  };
}

/** The runs so far, and the next. */
class Bench {
  outcomes;
  #options;
  #arrivals;
  #key;
  #beganMs = performance.now();

  constructor(options, arrivals) {
    this.#options = options;
    this.#arrivals = arrivals;
    this.#key = keyOf(options, arrivals);
    this.outcomes = earlierRuns(options, this.#key);
  }

  /** Down from a setting that is late, or up from one that is not, until it turns. */
  async tune(kind) {
    if (kind.start === undefined) return this.#once(kind);
    const carried = this.#carriedWithoutAdmission();
    const step = kind.step(carried);
    let setting = kind.start(carried);
    let direction;
    for (let tries = 0; tries < this.#options.tries && setting > 0; tries++) {
      const outcome = await this.#once(kind, setting);
      if (outcome === undefined) return;
      const kept = outcome.channels_on_time > 0;
      direction ??= kept ? 1 : -1;
      if (tries > 0 && kept === direction < 0) return;
      setting = Number((setting + direction * step).toFixed(4));
    }
  }

  async corecast() {
    const name = 'corecast';
    if (this.#known(name) !== undefined || !this.#timeFor(2)) return;
    const { seconds, seed, fillS, cpus, calibrate: runs } = this.#options;
    const dir = mkdtempSync(join(tmpdir(), 'corecast-host-'));
    const policy = new Corecast(dir);
    try {
      const daemon = await policy.serving();
      if (runs > 0) await calibrate(daemon, { runs, seed: seed + 1_000 });
      const ran = await this.#ramp(name, policy, Math.max(1, Math.floor(cpus / 2)));
      const results = await policy.results(this.#arrivals);
      this.#writeRows([...results, ...refusalsOf(ran), ...ran.marks]);
      this.#add({
        ...this.#outcomeOf(name, undefined, ran),
        ...forecastsOf(results),
        ...burstOf(ran.marks, seconds),
        ...costsOf(ran.marks, { seconds, fillS, cpus }),
      });
    } finally {
      await policy.close();
      rmSync(dir, { recursive: true, force: true });
    }
  }

  /** Undefined when there is no time for it. */
  async #once({ name, make }, setting) {
    const known = this.#known(name, setting);
    if (known !== undefined) return known;
    if (!this.#timeFor(1)) return undefined;
    return this.#add(this.#outcomeOf(name, setting, await this.#ramp(name, make(setting), 0)));
  }

  async #ramp(name, policy, neighbours) {
    const { asked, seconds, signal } = this.#options;
    const arrivals = this.#arrivals;
    const ran = await runRamp({ arrivals, asked, seconds, policy, lateS: LATE_LAG_S, neighbours, signal });
    const failed = ran.channels.filter(({ channel }) => channel.ending === 'failed');
    for (const { channel, arrival } of failed) {
      process.stderr.write(`host: ${name}: ${arrival.words.join(' ')} failed: ${channel.said}\n`);
    }
    for (const { lateS: late, arrival } of ran.channels) {
      if (late > 0) process.stderr.write(`host: ${name}: late for ${late} s: ${arrival.words.join(' ')}\n`);
    }
    return ran;
  }

  #outcomeOf(policy, setting, { marks, channels, refusedByRule, gaveUpS }) {
    const { seconds, fillS, cpus } = this.#options;
    const endings = channels.map(({ channel }) => channel.ending);
    return {
      ...outcomeOf({ policy, setting, marks, endings, refusedByRule, gaveUpS, seconds, fillS, cpus }),
      most_behind_s: Math.max(0, ...channels.map(({ channel }) => channel.mostBehindS)),
    };
  }

  #writeRows(rows) {
    const file = this.#options.rows;
    if (file !== undefined) writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  }

  #add(outcome) {
    const { results } = this.#options;
    this.outcomes.push(outcome);
    if (results !== undefined) appendFileSync(results, `${JSON.stringify({ key: this.#key, ...outcome })}\n`);
    process.stderr.write(`host: ${JSON.stringify(rowOf(outcome))}\n`);
    return outcome;
  }

  #known(name, setting = null) {
    return this.outcomes.find((outcome) => outcome.policy === name && outcome.setting === setting);
  }

  #carriedWithoutAdmission() {
    const found = this.#known('no_admission')?.most_at_once;
    return found > 0 ? found : CHANNELS_A_CPU * this.#options.cpus;
  }

  #timeFor(runs) {
    const { minutes, seconds } = this.#options;
    return performance.now() - this.#beganMs + runs * seconds * 1000 <= minutes * 60_000;
  }
}

/** Where a count starts when it is not known from a run without admission. */
const CHANNELS_A_CPU = 6;

function refusalsOf({ channels }) {
  return channels
    .filter(({ channel }) => channel.ending === 'refused')
    .map(({ channel, arrival: { atS, encoder, tableCores } }) => ({
      atS,
      encoder,
      tableCores,
      refused: channel.said,
    }));
}

async function sequenceOf({ seed, seconds, ...rest }) {
  const lastS = seconds + NEIGHBOUR_S + RECOVERY_S;
  return drawSequence({ ...rest, random: seededRandom(seed), seconds: lastS });
}

/** Runs are compared only where the same channels came at the same times. */
function keyOf({ seed, seconds, fillS }, arrivals) {
  const what = arrivals.map(({ atS, words }) => [atS, words]);
  const sha256 = createHash('sha256').update(JSON.stringify(what)).digest('hex');
  return `seed ${seed}, ${seconds} s of which ${fillS} s ramp, arrivals ${sha256.slice(0, 12)}`;
}

function earlierRuns({ results }, key) {
  if (results === undefined || !existsSync(results)) return [];
  const lines = readFileSync(results, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => {
    const { key: earlier, ...outcome } = JSON.parse(line);
    if (earlier !== key) throw new Error(`${results} holds runs of (${earlier}), not of (${key})`);
    return outcome;
  });
}

function optionsOf(given) {
  const number = (name, otherwise) => {
    const value = Number(given[name] ?? otherwise);
    if (!(value >= 0)) throw new Error(`--${name} is ${given[name]}; expected a number`);
    return value;
  };
  const list = (name) => (given[name] === undefined ? undefined : String(given[name]).split(','));
  const quick = given.quick === true ? QUICK : {};
  const names = [...PEERS.map(({ name }) => name), 'corecast'];
  const policies = list('policies') ?? names;
  const unknown = policies.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`--policies has ${unknown}; there are ${names.join(', ')}`);
  const options = {
    policies,
    seed: number('seed', 1),
    seconds: number('seconds', quick.seconds ?? 120),
    channelsPerCpu: number('channels', quick.channelsPerCpu ?? 14),
    calibrate: number('calibrate', quick.calibrate ?? 16),
    minutes: number('minutes', Number.POSITIVE_INFINITY),
    inputs: list('inputs') ?? [],
    lifeS: quick.lifeS ?? LIFE_S,
    fillS: quick.fillS ?? 40,
    tries: quick.tries ?? MOST_TRIES,
    results: given.results,
    rows: given.rows,
    cpus: allowedCpus().length,
  };
  return { ...options, asked: options.channelsPerCpu * options.cpus };
}

function rowOf(outcome) {
  return Object.fromEntries(ROW.map((key) => [key, outcome[key]]));
}

const ROW = [
  'policy',
  'setting',
  'channels_on_time',
  'channels',
  'most_at_once',
  'late_seconds',
  'most_behind_s',
  'utilisation',
  'cores_used',
  'other_cores',
  'refused',
  'failed',
  'gave_up_s',
];
