import { z } from 'zod';

const shareOf = (what: string) => z.number().min(0).max(1).describe(what);

/** corecast.toml. Every key has a default; unknown keys are errors. Units last in names. */
export const configSchema = z.strictObject({
  daemon: z
    .strictObject({
      socket: z.string().min(1).max(107).default('/run/corecast/corecast.sock'),
      /** Group that may use the socket; empty keeps the daemon's own. */
      socket_group: z.string().default(''),
      /** "127.0.0.1:PORT" or "[::1]:PORT"; empty for none. Loopback only until mutual TLS exists. */
      tcp_address: z.string().default(''),
      /** Metrics, health; empty for none. Loopback only. */
      http_address: z.string().default('127.0.0.1:9137'),
      state_dir: z.string().min(1).default('/var/lib/corecast'),
      log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    })
    .prefault({}),
  cpus: z
    .strictObject({
      /** CPU list never reserved; "auto": the first physical core where there are 4 or more cores, else none. */
      housekeeping: z.string().default('auto'),
      /** CPUs that the kernel isolates (isolcpus=), of those that the daemon may use. "leave": reserved only where there are no others. */
      isolated: z.enum(['leave', 'reserve']).default('leave'),
      /** Capacity of a core with both SMT siblings busy, in thousandths of one CPU alone. */
      smt_core_milli: z.number().int().min(1000).max(2000).default(1300),
    })
    .prefault({}),
  limits: z
    .strictObject({
      /** Share of a reservation kept free above the 0.9 quantile of its forecast; of live channels that share CPUs see sharing. */
      headroom: shareOf('real-time headroom').max(0.9).default(0.2),
      /** No admission that would take the host's forecast load (0.9 quantile) above this; 1 turns the check off. */
      host_load: shareOf('host load').default(0.98),
      /** No admission that would leave less memory than this. */
      memory_reserve_mb: z.number().int().min(0).default(512),
      /** Ingress bandwidth of the host, bits per second; 0 for no limit. */
      ingress_bps: z.number().min(0).default(0),
      channels: z.number().int().min(1).max(100_000).default(2_000),
      channels_per_peer: z.number().int().min(1).max(100_000).default(1_000),
      /** Cores that the reservations of one uid may hold together; 0: no limit. */
      cores_per_peer: z.number().min(0).max(100_000).default(0),
      queue: z.number().int().min(0).max(10_000).default(64),
      message_bytes: z.number().int().min(4_096).max(16_777_216).default(262_144),
    })
    .prefault({}),
  /** Live channels that share CPUs: what is reserved is a quantile of what all need together (balancer/shared-demand.ts). */
  sharing: z
    .strictObject({
      /** False: each live channel is reserved for by itself, its 0.9 quantile with limits.headroom on top. */
      enabled: z.boolean().default(true),
      /** All together stay within what is reserved with this probability. */
      quantile: z.number().min(0.5).max(0.99999).default(0.999),
      /** Share of the CPUs kept free above that. */
      headroom: shareOf('headroom of those who share').max(0.9).default(0.02),
      /** Most CPUs that one group of channels shares; neighbours of one NUMA node. */
      cpus: z.number().int().min(1).max(1_024).default(64),
    })
    .prefault({}),
  /** The CPUs that each class may have: "any", "performance" or "efficiency" (on hosts that have both), or a CPU list. */
  pools: z.strictObject({ live: z.string().default('any'), vod: z.string().default('any') }).prefault({}),
  /** Who gives way to a channel that does not fit. */
  preemption: z
    .strictObject({
      /**
       * VOD to live. "move": to other or fewer CPUs; "pause": that, and where it does not do, its process is stopped;
       * "requeue": there its FFmpeg is ended by its wrapper and started anew when there is room.
       */
      vod: z.enum(['none', 'move', 'pause', 'requeue']).default('pause'),
      /** Least time that a pause lasts. */
      pause_ms: z.number().int().min(0).max(3_600_000).default(5_000),
      /** Most running channels that one admission may move together so that it finds a place; 0: none. */
      migrations: z.number().int().min(0).max(64).default(4),
    })
    .prefault({}),
  pinning: z
    .strictObject({
      /** How channels are held on their CPUs: by a cgroup cpuset of their own where it can be had ("auto"; "cgroup" warns where not), or never. */
      backend: z.enum(['auto', 'affinity', 'cgroup']).default('auto'),
      /** Of the threads of live channels that have none of their own: they come before whatever else wants their CPUs. 0: as they are. */
      live_nice: z.number().int().min(-20).max(0).default(-5),
    })
    .prefault({}),
  leases: z
    .strictObject({
      start_timeout_ms: z.number().int().min(100).max(600_000).default(10_000),
      /** A holder that is silent for this long is gone. */
      lease_ms: z.number().int().min(1_000).max(600_000).default(10_000),
      /** How long an ORPHANED process keeps its CPUs; 0: until it ends. */
      orphan_grace_ms: z.number().int().min(0).default(0),
      /** How long ended reservations are kept for listings and retries. */
      keep_ended_ms: z.number().int().min(60_000).default(3_600_000),
    })
    .prefault({}),
  monitor: z
    .strictObject({
      interval_ms: z.number().int().min(100).max(60_000).default(1_000),
      /** While a channel starts or deviates from its forecast; interval_ms where that is shorter. */
      fast_interval_ms: z.number().int().min(50).max(60_000).default(250),
      /** Threads whose own times are read each tick, channel after channel in turn; channels that start or deviate come on top. */
      threads_per_tick: z.number().int().min(1).max(1_000_000).default(500),
      /** NVIDIA's management library, a name for dlopen; empty: GPUs are not watched. */
      nvml_library: z.string().max(4_096).default('libnvidia-ml.so.1'),
    })
    .prefault({}),
  history: z
    .strictObject({
      flush_ms: z.number().int().min(100).max(60_000).default(5_000),
      retention_days: z.number().min(0.01).max(3_650).default(14),
      /** Of roll-ups over 10 s and 5 min; never shorter than that of the samples. */
      retention_10s_days: z.number().min(0.01).max(3_650).default(90),
      retention_5m_days: z.number().min(0.01).max(3_650).default(1_095),
      max_mb: z.number().int().min(16).default(512),
    })
    .prefault({}),
  forecast: z
    .strictObject({
      /** A slower model run is abandoned for the next source in the fallback chain. */
      timeout_ms: z.number().int().min(1).max(10_000).default(200),
    })
    .prefault({}),
  adjust: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** Plans are logged and recorded, not applied. */
      dry_run: z.boolean().default(false),
      /** A deviation counts after this long: more CPUs are looked for. */
      sustain_ms: z.number().int().min(1_000).max(600_000).default(1_000),
      /** A live channel that is late for this long, where more CPUs do not help, goes down a rung of its ladder. */
      degrade_ms: z.number().int().min(1_000).max(600_000).default(2_000),
      /** Quality is restored after the deviation has been gone this long. */
      restore_ms: z.number().int().min(1_000).max(3_600_000).default(30_000),
      /** Least time between two changes of one channel. */
      cooldown_ms: z.number().int().min(1_000).max(3_600_000).default(15_000),
    })
    .prefault({}),
  /** How the forecast learns from this host's channels. */
  training: z
    .strictObject({
      /** Retrain by itself. `corecast train` works either way. */
      schedule: z.boolean().default(true),
      /** Least time between two trainings. */
      interval_ms: z.number().int().min(1_000).max(2_592_000_000).default(86_400_000),
      /** Runs that the history must have got since the last training. */
      min_new_runs: z.number().int().min(1).max(1_000_000).default(50),
      /** A training that takes longer ends with the best it has. */
      time_budget_ms: z.number().int().min(1_000).max(86_400_000).default(1_800_000),
      /** Hours of the day, local time, in which one may begin. */
      hours: z.string().max(100).default('0-23'),
      /** Busy share of the host above which none begins and a running one stops. */
      host_load: shareOf('host load').default(0.6),
      /** A candidate answers beside the model in use for so many outcomes before it is promoted; 0: at once. */
      shadow_outcomes: z.number().int().min(0).max(100_000).default(200),
      /** A candidate that has not won by then is given up. */
      shadow_ms: z.number().int().min(1_000).max(7_776_000_000).default(604_800_000),
      /** After a promotion, outcomes before the alarm may take it back; 0: no alarm. */
      watch_outcomes: z.number().int().min(0).max(100_000).default(100),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
export type TrainingConfig = Config['training'];
