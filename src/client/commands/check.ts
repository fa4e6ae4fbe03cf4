import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { clientSocket } from '../../config/paths.js';
import { messageOf } from '../../lib/errors.js';
import { EXIT } from '../exit-codes.js';
import { printJson, printLine } from '../print.js';

interface Options {
  readonly config?: string;
  readonly socket?: string;
  readonly ffmpeg: string;
  readonly json?: true;
}

/** "fail" stops corecast from working, "warn" costs something, "ok" is ok. */
interface Finding {
  readonly what: string;
  readonly verdict: 'ok' | 'warn' | 'fail';
  readonly text: string;
}

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .summary('check corecast.toml and this host')
    .description(
      'Checks the configuration and what corecast needs of this host. Ends with 78 when something fails.',
    )
    .option('--config <file>', 'corecast.toml (default: the built-in path, if it is there)')
    .option('--socket <path>', "the daemon's socket (default: $CORECAST_SOCKET, or the built-in path)")
    .option('--ffmpeg <path>', 'the FFmpeg to check', 'ffmpeg')
    .option('--json', 'print one JSON object as the last line')
    .addHelpText('after', '\nExample:\n  corecast check --config /etc/corecast/corecast.toml')
    .action(async (options: Options) => {
      const findings = [
        ...(await checkConfiguration(options.config)),
        ...(await checkFfmpeg(options.ffmpeg)),
        checkAddon(await loadAddon()),
        ...checkKernel(),
        await checkDaemon(clientSocket(options.socket, process.env)),
      ];
      const failed = findings.some(({ verdict }) => verdict === 'fail');
      if (options.json === true) printJson({ ok: !failed, findings });
      else
        for (const { what, verdict, text } of findings)
          printLine(`${verdict.padEnd(4)}  ${what.padEnd(13)}  ${text}`);
      if (failed) process.exitCode = EXIT.config;
    });
}

async function checkConfiguration(path: string | undefined): Promise<Finding[]> {
  const { checkConfig } = await import('../../config/load.js');
  try {
    const { file, problems } = checkConfig(path);
    if (problems.length > 0) {
      return problems.map(({ description }) => ({
        what: 'configuration',
        verdict: 'fail',
        text: description,
      }));
    }
    return [{ what: 'configuration', verdict: 'ok', text: file ?? 'no file; the defaults hold' }];
  } catch (error) {
    return [{ what: 'configuration', verdict: 'fail', text: messageOf(error) }];
  }
}

async function checkFfmpeg(ffmpeg: string): Promise<Finding[]> {
  const { availableEncoders, ffmpegVersion } = await import('../ffmpeg-build.js');
  const { ffprobeBeside } = await import('../signature.js');
  try {
    const encoders = await availableEncoders(ffmpeg);
    const known = ENCODERS.filter((name) => encoders.includes(name));
    const findings: Finding[] = [
      {
        what: 'ffmpeg',
        verdict: 'ok',
        text: `${await ffmpegVersion(ffmpeg)} with ${known.join(', ') || 'no encoder that is forecast'}`,
      },
    ];
    try {
      await ffmpegVersion(ffprobeBeside(ffmpeg));
    } catch (error) {
      findings.push({
        what: 'ffprobe',
        verdict: 'warn',
        text: `${messageOf(error)}; inputs must be declared`,
      });
    }
    return findings;
  } catch (error) {
    return [{ what: 'ffmpeg', verdict: 'fail', text: messageOf(error) }];
  }
}

async function loadAddon(): Promise<{ cpus: number[] } | { error: string }> {
  try {
    const { hostAddon } = await import('../../lib/native.js');
    return { cpus: hostAddon().getThreadAffinity(0) };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

function checkAddon(addon: { cpus: number[] } | { error: string }): Finding {
  if ('error' in addon)
    return { what: 'native addon', verdict: 'fail', text: `${addon.error}; build it: npm run build:native` };
  return {
    what: 'native addon',
    verdict: 'ok',
    text: `loaded; this process may use ${addon.cpus.length} CPUs`,
  };
}

function checkKernel(): Finding[] {
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const [major = 0, minor = 0] = release.split('.').map(Number);
  const recent = major > 5 || (major === 5 && minor >= 3);
  return [
    recent
      ? { what: 'kernel', verdict: 'ok', text: release }
      : { what: 'kernel', verdict: 'fail', text: `${release}; pidfd_open(2) needs 5.3` },
    existsSync('/proc/pressure/cpu')
      ? { what: 'pressure', verdict: 'ok', text: '/proc/pressure/cpu' }
      : { what: 'pressure', verdict: 'warn', text: 'the kernel has no PSI (psi=1); CPU pressure reads as 0' },
    existsSync('/sys/fs/cgroup/cgroup.controllers')
      ? { what: 'cgroups', verdict: 'ok', text: 'version 2' }
      : {
          what: 'cgroups',
          verdict: 'warn',
          text: 'not version 2: affinity alone pins, cpusets are not used',
        },
  ];
}

async function checkDaemon(socket: string): Promise<Finding> {
  if (!existsSync(socket))
    return { what: 'daemon', verdict: 'warn', text: `no socket at ${socket}; not running?` };
  try {
    accessSync(socket, constants.R_OK | constants.W_OK);
  } catch {
    return { what: 'daemon', verdict: 'warn', text: `this user may not use ${socket}` };
  }
  const { connect } = await import('../connect.js');
  try {
    const client = await connect({ socket, timeoutMs: 2_000 });
    const { daemonVersion } = await client.getHost({});
    client.close();
    return { what: 'daemon', verdict: 'ok', text: `version ${daemonVersion} at ${socket}` };
  } catch (error) {
    return { what: 'daemon', verdict: 'warn', text: messageOf(error) };
  }
}

const ENCODERS = [
  'libx264',
  'libx265',
  'libsvtav1',
  'libvpx',
  'libvpx-vp9',
  'libaom-av1',
  'mpeg2video',
  'mpeg4',
];
