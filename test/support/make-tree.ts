import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A fresh folder for thousands of small files: in memory where the host has such a place. */
export function makeFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return mkdtempSync('/dev/shm/corecast-tree-');
  } catch {
    return mkdtempSync(join(tmpdir(), 'corecast-tree-'));
  }
}

/** Files by path, written under a fresh temporary folder. Returns its path and what removes it. */
export function makeTree(files: Readonly<Record<string, string>>): { root: string; remove(): void } {
  const root = makeFolder();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}

export interface FixtureCpu {
  readonly cpu: number;
  /** List text of the CPUs on its core. */
  readonly core: string;
  readonly package?: number;
  /** List text of the CPUs that share its L3; absent: no cache folder. */
  readonly l3?: string;
}

/** The files of /sys/devices for a host as a recent kernel writes them; `more` adds or replaces. */
export function sysFiles(
  cpus: readonly FixtureCpu[],
  nodes: Readonly<Record<number, { cpulist: string; distance: string }>>,
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const files: Record<string, string> = {};
  for (const { cpu, core, package: packageId, l3 } of cpus) {
    const root = `devices/system/cpu/cpu${cpu}`;
    files[`${root}/topology/core_cpus_list`] = `${core}\n`;
    files[`${root}/topology/physical_package_id`] = `${packageId ?? 0}\n`;
    if (l3 === undefined) continue;
    files[`${root}/cache/index0/level`] = '1\n';
    files[`${root}/cache/index0/type`] = 'Instruction\n';
    files[`${root}/cache/index0/shared_cpu_list`] = `${core}\n`;
    files[`${root}/cache/index3/level`] = '3\n';
    files[`${root}/cache/index3/type`] = 'Unified\n';
    files[`${root}/cache/index3/shared_cpu_list`] = `${l3}\n`;
  }
  const numbers = cpus.map(({ cpu }) => cpu).join(',');
  files['devices/system/cpu/present'] = `${numbers}\n`;
  files['devices/system/cpu/online'] = `${numbers}\n`;
  for (const [node, { cpulist, distance }] of Object.entries(nodes)) {
    files[`devices/system/node/node${node}/cpulist`] = `${cpulist}\n`;
    files[`devices/system/node/node${node}/distance`] = `${distance}\n`;
  }
  return { ...files, ...more };
}
