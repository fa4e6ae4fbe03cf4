import { messageOf } from '../../../src/lib/errors.js';
import type { Directive } from '../../../src/rpc/control.js';
import { Chance } from './chance.js';
import { type Boundaries, type Host, type Serving, start } from './daemon.js';
import { SimulatedDisk } from './disk.js';
import { type Call, Holder, requestOf } from './holders.js';
import { SimulatedKernel } from './kernel.js';
import { Killed, Life } from './life.js';
import { Machine } from './machine.js';
import { startOf } from './start-of.js';
import { Timeline } from './timeline.js';
import { Witness } from './witness.js';

export interface ScenarioOptions {
  readonly directory: string;
  readonly boundaries?: Boundaries;
  /** Told of everything that happens. */
  readonly say?: (line: string) => void;
}

/** Every deadline passes within this time, and is looked for so often. */
const END_MS = 60_000;
const END_STEP_MS = 3_000;

/** One host from first start to last end: what there is, and how things happen in it. What is done to it: actions.ts. */
export class Scenario {
  readonly chance: Chance;
  readonly timeline = new Timeline();
  readonly machine: Machine;
  readonly disk: SimulatedDisk;
  readonly kernel: SimulatedKernel;
  readonly witness: Witness;
  readonly holders: Holder[] = [];
  life: Life;
  serving: Serving | undefined;
  /** The network loses nothing any more, and nobody is killed. */
  calm = false;
  readonly tracing: boolean;
  readonly #host: Host;
  readonly #say: ((line: string) => void) | undefined;
  #lives = 0;

  constructor(seed: number, { directory, boundaries = {}, say }: ScenarioOptions) {
    this.chance = new Chance(seed);
    this.machine = new Machine(this.chance.below(3));
    this.disk = new SimulatedDisk(this.chance, this.timeline);
    this.kernel = new SimulatedKernel(this.chance, this.timeline, this.machine);
    const { timeline, disk, kernel, machine } = this;
    const graceMs = this.chance.of([0, 8_000])!;
    const vod = this.chance.of(['pause', 'requeue'] as const)!;
    this.#host = { directory, graceMs, vod, timeline, disk, kernel, machine, boundaries };
    this.witness = new Witness(this.#host);
    this.#say = say;
    this.tracing = say !== undefined;
    this.life = this.#start();
  }

  say(line: string): void {
    this.#say?.(`${String(this.timeline.monotonicMs()).padStart(7)} ms  ${line}`);
  }

  /** Lets things happen for a while, looking after each. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.timeline.monotonicMs() + ms;
    do await this.look();
    while (this.timeline.next(untilMs));
  }

  /** Waits until nothing is left to run in this turn, then compares. */
  async look(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.serving !== undefined) this.witness.atRest(this.serving);
  }

  arrive(request: Parameters<typeof requestOf>[1]): void {
    const name = `holder${this.holders.length + 1}`;
    const holder = new Holder(name, this.chance.hits(0.8) ? 1_000 : 1_001, requestOf(name, request));
    holder.onDirective = (directive) => this.#told(holder, directive);
    this.holders.push(holder);
    this.send(holder.reserve());
  }

  /** A message may come late, twice or never. */
  send(call: Call): void {
    this.say(`${call.holder.name} sends ${describe(call)}`);
    if (this.chance.hits(0.04)) return;
    const copies = this.chance.hits(0.08) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const delayMs = this.chance.hits(0.06) ? this.chance.between(200, 9_000) : this.chance.between(0, 5);
      this.timeline.after(delayMs, () => this.#deliver(call));
    }
  }

  /** A wrapper that is told to give way ends its process, sooner or later or not at all; told of room, it starts another. */
  #told(holder: Holder, { kind }: Directive): void {
    if (kind !== 'requeue' && kind !== 'start') return;
    this.say(`${holder.name} is told: ${kind}`);
    const { process } = holder;
    if (kind === 'requeue') this.witness.givesWay(holder.id);
    if (this.chance.hits(0.1)) return;
    this.timeline.after(this.chance.between(0, kind === 'start' ? 50 : 4_000), () => {
      if (holder.gone) return;
      if (this.chance.hits(0.2)) return this.#dies(holder);
      const next = kind === 'start' ? startOf(this, holder) : undefined;
      if (next !== undefined) this.send(holder.attach(next, holder.token));
      if (kind === 'requeue' && process?.alive === true) this.kernel.exit(process);
    });
  }

  #dies(holder: Holder): void {
    this.say(`${holder.name} dies`);
    holder.gone = true;
    if (this.chance.hits(0.5)) holder.closeSession();
  }

  /** Stops as SIGTERM stops it. A kill may come in between. */
  stopOrderly(): void {
    const { serving, life } = this;
    if (serving === undefined) return;
    this.say('the daemon is told to stop');
    this.serving = undefined;
    const stop = async () => {
      await serving.reservations.stop();
      await serving.ledger.close();
      life.kill();
    };
    stop().catch((error) => this.witness.refused(UNASKED, error));
  }

  /** Everything heals, everybody leaves: nothing may be left over. */
  async end(): Promise<void> {
    this.say('all faults end');
    this.calm = true;
    Object.assign(this.disk, { slow: false, failingOpens: 0 });
    this.disk.faults.length = 0;
    this.kernel.refusals = 0;
    this.life.light(Number.POSITIVE_INFINITY);
    await this.pass(10_000);
    // A process is set free before the write that gives it up.
    while (this.disk.writes) await this.pass(1);
    this.witness.processes();
    this.witness.stopped();
    for (const holder of this.holders) holder.gone = true;
    for (const process of [...this.kernel.processes]) this.kernel.exit(process);
    this.machine.allOnline();
    this.kernel.cpusChanged();
    this.serving?.reservations.capacityChanged();
    for (let ms = 0; ms < END_MS && this.#unfinished(); ms += END_STEP_MS) await this.pass(END_STEP_MS);
    if (this.serving === undefined) this.witness.violated('the daemon did not come back');
    else await this.#takeAll(this.serving);
  }

  #unfinished(): boolean {
    const { serving } = this;
    return (
      serving === undefined || serving.reservations.list(false).length + serving.reservations.queued() > 0
    );
  }

  /** When all is free, all of it can be had. */
  async #takeAll(serving: Serving): Promise<void> {
    this.witness.atTheEnd(serving);
    const { topology } = this.machine;
    const cores = new Set(topology.cpus.filter(({ housekeeping }) => !housekeeping).map(({ core }) => core))
      .size;
    const its = { milli: cores * 1_000, cpuCount: cores, exclusive: true, waitMs: 0, vod: false };
    const holder = new Holder('last', 1_002, requestOf('last', its));
    let outcome = 'no answer';
    holder
      .reserve()
      .run(serving)
      .then(
        () => {
          outcome = '';
        },
        (error) => {
          outcome = messageOf(error);
        },
      );
    await this.pass(1_000);
    if (outcome !== '')
      this.witness.violated(`all is free, yet ${cores} whole cores cannot be had: ${outcome}`);
    else this.witness.onDisk(serving);
  }

  #start(): Life {
    const life = new Life(++this.#lives, (dead) => this.#died(dead));
    this.say(`daemon ${life.number} starts`);
    start(this.#host, life, () => this.witness.opened()).then(
      (serving) => {
        if (life.dead) return;
        this.serving = serving;
        this.witness.serves(serving);
        for (const line of serving.report) this.say(`  ${line}`);
        this.say(`daemon ${life.number} serves`);
      },
      (error) => {
        if (life.dead) return;
        this.say(`daemon ${life.number} does not start: ${messageOf(error)}`);
        this.witness.refused(UNASKED, error);
        life.kill();
      },
    );
    return life;
  }

  #died(life: Life): void {
    this.say(`daemon ${life.number} is dead`);
    this.serving = undefined;
    this.disk.killed(life);
    this.timeline.after(this.chance.between(100, 3_000), () => {
      this.life = this.#start();
    });
  }

  #deliver(call: Call): void {
    const { serving } = this;
    if (serving === undefined || !this.life.crosses()) return;
    const { life } = serving;
    call.deliveries++;
    const stale = this.witness.isStale(call, life);
    this.witness.delivered(call);
    call.run(serving).then(
      (reservation) => {
        if (!life.crosses()) return;
        this.say(
          `${describe(call)} of ${call.holder.name} is answered: ${reservation.id} ${reservation.state}, token ${reservation.token}`,
        );
        this.witness.answered(call, reservation, stale);
        const lost = !this.calm && this.chance.hits(0.05);
        if (lost || call.holder.gone) return;
        this.timeline.after(this.chance.between(0, 5), () => call.took(reservation));
      },
      (error) => {
        if (life.dead || error instanceof Killed) return;
        this.say(`${describe(call)} of ${call.holder.name} is refused: ${messageOf(error)}`);
        this.witness.refused(call, error);
      },
    );
  }
}

const UNASKED: Call = {
  what: 'Session',
  holder: new Holder(
    'nobody',
    0,
    requestOf('nobody', { milli: 0, cpuCount: 0, exclusive: false, waitMs: 0, vod: false }),
  ),
  key: '',
  id: undefined,
  token: 0,
  run: () => Promise.reject(new Error('nobody asked')),
  took: () => {},
  deliveries: 0,
};

function describe({ what, token }: Call): string {
  return token === 0 ? what : `${what} (token ${token})`;
}
