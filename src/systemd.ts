import type { Log } from './lib/log.js';
import type { HostAddon } from './lib/native.js';

/** READY=1 now, WATCHDOG=1 at half the unit's WatchdogSec from the event loop: a daemon that hangs is restarted. */
export function tellSystemd(addon: Pick<HostAddon, 'notify'>, log: Log): () => void {
  if (!addon.notify('READY=1')) return () => {};
  const watchdogUs = Number(process.env['WATCHDOG_USEC'] ?? 0);
  const timer = watchdogUs > 0 ? setInterval(() => addon.notify('WATCHDOG=1'), watchdogUs / 2000) : undefined;
  log.info({ watchdogMs: watchdogUs / 1000 }, 'told systemd that it is ready');
  return () => {
    clearInterval(timer);
    addon.notify('STOPPING=1');
  };
}
