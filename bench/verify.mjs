/**
 * What holding threads on their CPUs costs: the check of every tick over --processes processes of --threads threads, all
 * in order. The floor is the bare sched_getaffinity(2) of as many threads in C, without listing them.
 *
 *   npm run -s bench -- verify [--json] [--processes 100] [--threads 20] [--ticks 60]
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { hostAddon } = await import(`${dist}/lib/native.js`);
const { createPinning } = await import(`${dist}/pinning/affinity.js`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `sleepers THREADS` sleeps in that many threads; `sleepers floor ROUNDS TID...` prints ns per look at one mask. */
const SOURCE = `
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static void *rest(void *none) { pause(); return none; }
int main(int argc, char **argv) {
  if (strcmp(argv[1], "floor") != 0) {
    for (int i = 1; i < atoi(argv[1]); i++) { pthread_t t; pthread_create(&t, NULL, rest, NULL); }
    puts("up"); fflush(stdout); pause(); return 0;
  }
  int rounds = atoi(argv[2]); struct timespec a, b; cpu_set_t set; long looks = 0;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  for (int r = 0; r < rounds; r++)
    for (int i = 3; i < argc; i++) looks += sched_getaffinity(atoi(argv[i]), sizeof set, &set) == 0;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  printf("%f\\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / looks);
  return 0;
}
`;

export async function run({ processes = 100, threads = 20, ticks = 60 } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-verify-'));
  const children = [];
  try {
    const program = build(dir);
    for (let i = 0; i < Number(processes); i++) {
      children.push(spawn(program, [String(threads)], { stdio: ['ignore', 'pipe', 'ignore'] }));
    }
    await Promise.all(children.map(({ stdout }) => new Promise((up) => stdout.once('data', up))));
    return { figures: measure(program, children, Number(ticks)) };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(dir, { recursive: true });
    await sleep(0);
  }
}

function build(dir) {
  const program = join(dir, 'sleepers');
  writeFileSync(`${program}.c`, SOURCE);
  const { status, stderr, error } = spawnSync('cc', ['-O2', '-pthread', '-o', program, `${program}.c`]);
  if (status !== 0) throw new Error(`no C compiler to make the watched processes: ${error ?? stderr}`);
  return program;
}

/** One tick after the other: CPU time a tick does not depend on what lies between two. */
function measure(program, children, ticks) {
  const addon = hostAddon();
  const pinning = createPinning({ addon });
  const cpus = addon.getThreadAffinity(0);
  const refs = children.map(({ pid }) => ({ pid, startTicks: addon.startTicks(pid) }));
  for (const ref of refs) pinning.pin(ref, cpus);
  const check = () => refs.reduce((sum, ref) => sum + pinning.repair(ref, cpus).threads, 0);
  for (let warm = 0; warm < 10; warm++) check();
  const ms = [];
  let checked = 0;
  for (let tick = 0; tick < ticks; tick++) {
    const before = process.cpuUsage();
    checked = check();
    const { user, system } = process.cpuUsage(before);
    ms.push((user + system) / 1000);
  }
  ms.sort((a, b) => a - b);
  const tids = refs.flatMap(({ pid }) => readdirSync(`/proc/${pid}/task`));
  const floorNs = Number(execFileSync(program, ['floor', String(ticks), ...tids], { encoding: 'utf8' }));
  const meanMs = ms.reduce((a, b) => a + b, 0) / ms.length;
  const floorMs = (floorNs * checked) / 1e6;
  return {
    processes: refs.length,
    threads: checked,
    cpu_ms_per_tick: meanMs,
    cpu_ms_per_tick_p50: ms[Math.floor(ms.length / 2)],
    // One tick a second.
    cpu_percent_of_one: meanMs / 10,
    floor_ms_per_tick: floorMs,
    ratio_to_floor: meanMs / floorMs,
  };
}
