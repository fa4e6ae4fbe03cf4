import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { type Logger, pino } from 'pino';
import { loadConfig } from './config/load.js';
import { type Daemon, startDaemon } from './daemon.js';
import { isCorecastError, messageOf } from './lib/errors.js';
import { hostAddon } from './lib/native.js';

/** sysexits(3): systemd's Restart=always tries again; these say in the journal what to mend. */
const EXIT = { ok: 0, failed: 1, usage: 64, unavailable: 69, config: 78 } as const;
/** A stop that hangs is ended; systemd's own limit is TimeoutStopSec=15s. */
const STOP_LIMIT_MS = 10_000;

const version = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

const program = new Command('corecastd')
  .description('Forecasts, reserves and pins CPU cores for video transcodes on this host.')
  .version(version)
  .option('--config <file>', 'corecast.toml (default: /etc/corecast/corecast.toml where it exists)')
  .option('--check', 'check the configuration and exit')
  .addHelpText(
    'after',
    '\nExample: corecastd --config /etc/corecast/corecast.toml\nReload limits: kill -HUP PID',
  )
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage))
  .parse();
const { config: configPath, check } = program.opts<{ config?: string; check?: boolean }>();

void run().then((code) => {
  process.exitCode = code;
});

async function run(): Promise<number> {
  try {
    const config = loadConfig(configPath);
    if (check) {
      console.log('configuration is valid');
      return EXIT.ok;
    }
    const log = pino({ level: config.daemon.log_level, base: null }, pino.destination({ fd: 2, sync: true }));
    process.on('unhandledRejection', (error) =>
      log.error({ err: error }, 'a rejected promise nobody handled'),
    );
    const daemon = await startDaemon({ config, log, version, addon: hostAddon() });
    return await serve(daemon, log);
  } catch (error) {
    process.stderr.write(`corecastd: ${messageOf(error)}\n`);
    if (isCorecastError(error, 'CONFIG_INVALID')) return EXIT.config;
    return isCorecastError(error) ? EXIT.unavailable : EXIT.failed;
  }
}

/** Until SIGTERM or SIGINT. SIGHUP reads the configuration again. */
function serve(daemon: Daemon, log: Logger): Promise<number> {
  return new Promise((resolve) => {
    process.on('SIGHUP', () => {
      try {
        daemon.reload(loadConfig(configPath));
      } catch (error) {
        log.error({ error: messageOf(error) }, 'the new configuration is not valid; the old one stays');
      }
    });
    let stopping = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (stopping) return;
        stopping = true;
        log.info({ signal }, 'stopping; running channels go on');
        setTimeout(() => process.exit(EXIT.failed), STOP_LIMIT_MS).unref();
        daemon.stop().then(
          () => resolve(EXIT.ok),
          (error) => {
            log.error({ err: error }, 'the stop failed');
            resolve(EXIT.failed);
          },
        );
      });
    }
  });
}
