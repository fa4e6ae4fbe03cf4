import type { Config } from './config/schema.js';
import { type Cpuset, parseCpuset } from './lib/cpuset.js';
import { messageOf } from './lib/errors.js';
import type { Log } from './lib/log.js';
import { withPools } from './reservation/pools.js';
import { describeTopology } from './topology/describe.js';
import { OnlineWatch } from './topology/online-watch.js';
import { readTopology } from './topology/read.js';
import type { Topology } from './topology/topology.js';

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

  /** Once a tick. True when CPUs went or came and what is in force has changed; one that cannot be read is logged. */
  followOnline(): boolean {
    const change = this.#online.changed();
    if (change === undefined) return false;
    const { config, log } = this.#options;
    try {
      this.read(config());
    } catch (error) {
      log.error({ part: 'topology', error: messageOf(error) }, `online CPUs ${change}: not applied`);
      return false;
    }
    log.warn({ part: 'topology' }, `online CPUs ${change}; ${describeTopology(this.#topology)}`);
    return true;
  }

  #readFor({ cpus: { housekeeping }, pools }: Config): Topology {
    const { sysRoot, procRoot, allowed } = this.#options;
    const topology = readTopology({
      sysRoot,
      procRoot,
      allowed: allowed(),
      housekeeping: housekeeping === 'auto' ? 'auto' : parseCpuset(housekeeping),
    });
    return withPools(topology, pools);
  }
}
