/**
 * The wrapper's side of channel-cgroup.ts: before it starts FFmpeg it makes a cgroup for the channel, moves into it, and
 * gives its cpuset to the daemon. It can where its own cgroup is delegated with cpuset to its user: `Delegate=cpuset` in
 * the unit. The daemon could not: to move a process one must be allowed to write cgroup.procs of the cgroup above both
 * places, and that of another user's unit is root's.
 */
import { execFileSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { type Cpuset, formatCpuset } from '../lib/cpuset.js';
import { messageOf } from '../lib/errors.js';
import { type CgroupRoots, readCgroupPaths } from './cgroup-files.js';
import { CHANNEL_PREFIX } from './channel-cgroup.js';

export interface OwnCgroupOptions extends CgroupRoots {
  /** Usually "/run". */
  readonly runRoot: string;
  readonly uid: number;
  readonly pid: number;
  /** Of the daemon's socket: the group gets to write the cpuset, unless the daemon is root or this very user. */
  readonly daemon: { readonly uid: number; readonly gid: number };
}

export interface OwnCgroup {
  /** As in /proc/PID/cgroup. */
  readonly path: string;
  /** Back to where it came from; the cgroup goes when nobody else is in it. */
  leave(): void;
}

/** A string says why there is none; then nothing has changed. */
export function enterOwnCgroup(cpus: Cpuset, options: OwnCgroupOptions): OwnCgroup | string {
  const { procRoot, cgroupRoot, pid, uid, daemon } = options;
  const parent = readCgroupPaths(procRoot, pid).unified;
  if (parent === undefined) return 'there are no cgroups of version 2';
  const around = join(cgroupRoot, parent);
  const hindrance = whyNotDelegated(around, options);
  if (hindrance !== undefined) return `${parent} ${hindrance}`;
  sweep(around);
  const name = `${CHANNEL_PREFIX}${pid}`;
  const own = join(around, name);
  const move = (to: string) => writeFileSync(join(to, 'cgroup.procs'), String(pid));
  try {
    writeFileSync(join(around, 'cgroup.subtree_control'), '+cpuset');
    mkdirSync(own);
    writeFileSync(join(own, 'cgroup.type'), 'threaded');
    const list = join(own, 'cpuset.cpus');
    writeFileSync(list, formatCpuset(cpus));
    if (daemon.uid !== 0 && daemon.uid !== uid) handTo(list, daemon.gid);
    move(own);
  } catch (error) {
    remove(own);
    return `${parent} could not be divided (${messageOf(error)})`;
  }
  return {
    path: join(parent, name),
    leave() {
      try {
        move(around);
      } catch {
        // The unit is being stopped: systemd removes what is left.
      }
      remove(own);
    },
  };
}

/** Who owns the daemon's socket; undefined when it cannot be seen. */
export function daemonOf(socket: string): OwnCgroupOptions['daemon'] | undefined {
  try {
    const { uid, gid } = statSync(socket);
    return { uid, gid };
  } catch {
    return undefined;
  }
}

function whyNotDelegated(around: string, { uid, runRoot }: OwnCgroupOptions): string | undefined {
  const controllers = readIfThere(join(around, 'cgroup.controllers'));
  if (!controllers.split(/\s+/).includes('cpuset')) {
    return 'has no cpuset controller: Delegate=cpuset in its unit gives it one';
  }
  for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control']) {
    try {
      accessSync(join(around, file), constants.W_OK);
    } catch {
      return `is not delegated to user ${uid}: Delegate=cpuset in its unit does that`;
    }
  }
  // Root may write everywhere. What systemd has not given away it goes on managing.
  if (uid === 0 && existsSync(join(runRoot, 'systemd/system')) && !systemdDelegates(basename(around))) {
    return 'is not delegated: Delegate=cpuset in its unit does that';
  }
  return undefined;
}

function systemdDelegates(unit: string): boolean {
  try {
    const args = ['show', '--property=Delegate', '--value', '--', unit];
    return (
      execFileSync('systemctl', args, { encoding: 'utf8', timeout: 1_000, stdio: 'pipe' }).trim() === 'yes'
    );
  } catch {
    return false;
  }
}

/** The group may write. Its members are those who may use the daemon; the kernel knows no smaller circle. */
function handTo(list: string, gid: number): void {
  chownSync(list, -1, gid);
  chmodSync(list, 0o664);
}

/** What wrappers that were killed left behind: a cgroup with a process in it cannot be removed. */
function sweep(around: string): void {
  for (const name of readdirSync(around)) {
    if (name.startsWith(CHANNEL_PREFIX)) remove(join(around, name));
  }
}

function remove(cgroup: string): void {
  try {
    rmdirSync(cgroup);
  } catch {
    // Somebody is in it, or it is not there.
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
