import type { Holder } from './holders.js';
import type { Scenario } from './scenario.js';

/** A new process of its holder. The wrapper sets its own affinity first, then starts FFmpeg, which inherits it. */
export function startOf({ serving, machine, kernel }: Scenario, holder: Holder): Holder['process'] {
  const mask = serving?.reservations.get(holder.id!)?.cpus.map(({ cpu }) => cpu) ?? [];
  const own = mask.filter((cpu) => machine.online.includes(cpu));
  holder.process = kernel.spawn(holder.peer.uid, own.length > 0 ? own : machine.online);
  return holder.process;
}
