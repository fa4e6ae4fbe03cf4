import type { Config } from './config/schema.js';
import { type Cpuset, formatCpuset, parseCpuset } from './lib/cpuset.js';
import { messageOf } from './lib/errors.js';
import type { Log } from './lib/log.js';
import { withPools } from './reservation/pools.js';
import { describeTopology } from './topology/describe.js';
import { OnlineWatch } from './topology/online-watch.js';
import { readTopology } from './topology/read.js';
import type { Topology } from './topology/topology.js';

/** Ticks that other CPUs of this process must stay before they count. */
const STAYS_TICKS = 5;

export interface HostTopologyOptions {
  readonly sysRoot: string;
  readonly procRoot: string;
  /** The CPUs that this process may use. */
  readonly allowed: () => Cpuset;
  readonly config: () => Config;
  readonly log: Log;
}

/** The host and its pools in force: read anew where the configuration or the list of online CPUs becomes another. */
export class HostTopology {
  readonly #options: HostTopologyOptions;
  readonly #online: OnlineWatch;
  #topology: Topology;
  /** This process's own CPUs, as last read; and those that it was seen with since, for so many ticks. */
  #allowed = '';
  #other = { cpus: '', ticks: 0 };

  /** Throws what readTopology throws. */
  constructor(options: HostTopologyOptions) {
    this.#options = options;
    this.#online = new OnlineWatch(options.sysRoot);
    this.#topology = this.#readFor(options.config());
    options.log.info({ part: 'topology' }, describeTopology(this.#topology));
  }

  get topology(): Topology {
    return this.#topology;
  }

  /** For another configuration. Throws, and keeps what is in force, when the host cannot be divided so. */
  read(config: Config): void {
    this.#topology = this.#readFor(config);
  }

  /**
   * Once a tick. True when CPUs went or came, or this process may use others (its cgroup, its container), and what is in
   * force has changed; a host that cannot be read is logged.
   */
  follow(): boolean {
    const online = this.#online.changed();
    const change = online === undefined ? this.#allowedChanged() : `online CPUs ${online}`;
    if (change === undefined) return false;
    const { config, log } = this.#options;
    try {
      this.read(config());
    } catch (error) {
      log.error({ part: 'topology', error: messageOf(error) }, `${change}: not applied`);
      return false;
    }
    log.warn({ part: 'topology' }, `${change}; ${describeTopology(this.#topology)}`);
    return true;
  }

  /** Not at once: a unit that changes its slice has other CPUs for a moment (corecast-fence). */
  #allowedChanged(): string | undefined {
    const cpus = formatCpuset(this.#options.allowed());
    if (cpus === this.#allowed) this.#other = { cpus, ticks: 0 };
    else if (cpus === this.#other.cpus) this.#other.ticks++;
    else this.#other = { cpus, ticks: 1 };
    if (this.#other.ticks < STAYS_TICKS) return undefined;
    const change = `CPUs of this process ${this.#allowed} -> ${cpus}`;
    this.#allowed = cpus;
    return change;
  }

  #readFor({ cpus: { housekeeping, isolated }, pools }: Config): Topology {
    const { sysRoot, procRoot, allowed } = this.#options;
    const own = allowed();
    this.#allowed = formatCpuset(own);
    const topology = readTopology({
      sysRoot,
      procRoot,
      allowed: own,
      isolated,
      housekeeping: housekeeping === 'auto' ? 'auto' : parseCpuset(housekeeping),
    });
    return withPools(topology, pools);
  }
}
