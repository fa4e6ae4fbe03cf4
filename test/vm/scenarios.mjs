/**
 * In this order, on one virtual host; each leaves the channels "news" and "sport" running for the next unless it says
 * otherwise. A scenario asserts, and returns figures.
 */
import assert from 'node:assert/strict';
import {
  assertOwnership,
  assertWithin,
  attached,
  expand,
  install,
  logged,
  logMark,
  logSince,
  startChannel,
  startExampleUnit,
  status,
} from './guest-daemon.mjs';

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
const NAMES = ['news', 'sport'];

async function unitStarts(host) {
  await install(host);
  await host.sh('systemctl enable --now corecastd', 600_000);
  const shown = await host.sh('systemctl show corecastd -p Type,ActiveState,SubState,NRestarts');
  for (const wanted of ['Type=notify', 'ActiveState=active', 'SubState=running', 'NRestarts=0']) {
    assert.ok(shown.split('\n').includes(wanted), `${wanted} is not in ${shown}`);
  }
  assert.equal(await host.sh('stat -c "%a %G" /run/corecast/corecast.sock'), '660 corecast');
  const { cpus } = await status(host);
  assert.equal(new Set(cpus.map(({ core }) => core)).size, 4);
  assert.equal(new Set(cpus.map(({ node }) => node)).size, 2);
  assert.deepEqual(
    cpus.filter(({ housekeeping }) => housekeeping).map(({ cpu }) => cpu),
    [0, 1],
  );
  const times = await host.sh(
    'systemctl show corecastd -p ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic --value',
  );
  const [from, to] = sorted(times.split('\n').map(Number));
  return { start_to_ready_s: (to - from) / 1e6 };
}

async function channelsRun(host) {
  const news = await startChannel(host, 'news', '--exclusive --cpus 2');
  const sport = await startChannel(host, 'sport', '--cpus 1');
  for (const one of [news, sport]) await assertWithin(host, one);
  await assertOwnership(host);
  const { cpus } = await status(host);
  const cores = expand(news.cpus).map((cpu) => cpus[cpu].core);
  assert.equal(new Set(cores).size, 1, 'an exclusive channel of 2 CPUs has both threads of one core');
  assert.ok(!expand(news.cpus).includes(Number(sport.cpus)), 'nobody else is on an exclusive core');
  return { news_cpus: news.cpus, sport_cpus: sport.cpus };
}

/** The first AllowedCPUs= of a host switches the cpuset controller on: kernels before 6.2 then forget every affinity. */
async function daemonReload(host) {
  const mark = await logMark(host);
  const channels = await processes(host);
  const lists = channels.map(
    ({ pid }) => `grep -h Cpus_allowed_list /proc/${pid}/task/*/status | cut -f2 | sort -u | xargs`,
  );
  // Read in one command with the reload, before the daemon's next tick can mend it.
  const right = await host.sh(`mkdir -p /etc/systemd/system/system.slice.d
printf '[Slice]\\nAllowedCPUs=0-7\\n' >/etc/systemd/system/system.slice.d/all.conf
systemctl daemon-reload
${lists.join('\n')}`);
  await host.until('the masks are right again', wholeWithin(channels));
  const wrong = right.split('\n').filter((list, i) => list !== channels[i].cpus).length;
  const repairs = await repairsLogged(host, mark, wrong);
  for (const { cause, msg } of repairs) assert.equal(cause, 'cgroup', msg);
  return { masks_after_reload: right.split('\n'), repairs: repairs.length, said: repairs[0]?.msg ?? '' };
}

async function repairsLogged(host, mark, atLeast) {
  const giveUp = Date.now() + 60_000;
  for (;;) {
    const lines = (await logSince(host, mark)).filter(({ msg }) => /had left their CPUs/.test(msg));
    if (lines.length >= atLeast) return lines;
    assert.ok(Date.now() < giveUp, `${atLeast} channels had wrong masks, ${lines.length} repairs are logged`);
  }
}

async function cpuOffline(host) {
  const before = await attached(host, 'sport');
  const [dead] = expand(before.cpus);
  const mark = await logMark(host);
  await host.sh(`echo 0 >/sys/devices/system/cpu/cpu${dead}/online`);
  await logged(host, mark, /^online CPUs/);
  const after = await moved(host, 'sport', dead);
  await assertWithin(host, after);
  await assertOwnership(host);
  const extra = await startChannel(host, 'extra', '--cpus 1');
  assert.ok(!expand(extra.cpus).includes(dead), `CPU ${dead} is offline, yet ${extra.cpus} was handed out`);
  await host.sh(`systemctl stop extra; echo 1 >/sys/devices/system/cpu/cpu${dead}/online`);
  const giveUp = Date.now() + 120_000;
  while (!(await status(host)).cpus[dead].online) assert.ok(Date.now() < giveUp, `CPU ${dead} stays offline`);
  return { offline: dead, from: before.cpus, to: after.cpus };
}

async function moved(host, name, dead) {
  const giveUp = Date.now() + 120_000;
  for (;;) {
    const now = await attached(host, name);
    if (!expand(now.cpus).includes(dead)) return now;
    assert.ok(Date.now() < giveUp, `${name} is still on CPU ${dead}`);
  }
}

async function daemonRestarts(host) {
  const before = await processes(host);
  const mark = await logMark(host);
  await host.sh('systemctl restart corecastd', 600_000);
  await unchanged(host, before);
  const adopted = (await logSince(host, mark)).filter(({ msg }) => /adopted on CPUs/.test(msg));
  assert.equal(adopted.length, NAMES.length, 'each channel is adopted');
  return { adopted: adopted.length };
}

async function daemonUpgrade(host) {
  const before = await processes(host);
  await host.sh(
    `cp -a /usr/lib/corecast /opt/next
sed -i 's/"version": ".*"/"version": "99.0.0"/' /opt/next/package.json
mount --bind /opt/next /usr/lib/corecast
systemctl restart corecastd`,
    600_000,
  );
  await unchanged(host, before);
  assert.equal((await status(host)).version, '99.0.0');
  return {};
}

/** A daemon that hangs: systemd notices by WatchdogSec and starts another. */
async function watchdog(host) {
  const before = await processes(host);
  const restarts = Number(await host.sh('systemctl show corecastd -p NRestarts --value'));
  const pid = await host.sh('systemctl show corecastd -p MainPID --value');
  const began = Date.now();
  await host.sh(`kill -STOP ${pid}`);
  await host.until(
    'systemd starts another daemon',
    `[ "$(systemctl show corecastd -p NRestarts --value)" -gt ${restarts} ] && systemctl is-active --quiet corecastd`,
    400_000,
  );
  const seconds = (Date.now() - began) / 1000;
  const why = await host.sh('journalctl -u corecastd --no-pager | grep -c "Watchdog timeout"');
  assert.ok(Number(why) >= 1);
  await unchanged(host, before);
  return { hang_to_serving_s: seconds };
}

/** examples/encoder@.service: the channel has a cpuset of its own inside the unit's cgroup, and the unit stays in charge. */
async function ownCpuset(host) {
  const mark = await logMark(host);
  let own = await startExampleUnit(host, 'own', '--exclusive --cpus 2');
  const path = await host.sh(`cut -d: -f3 /proc/${own.pid}/cgroup`);
  assert.match(path, /^\/corecast\.slice\/.*encoder@own\.service\/corecast-\d+$/);
  const files = `/sys/fs/cgroup${path}`;
  const has = (file) => host.sh(`cat ${files}/${file}`);
  assert.equal(await has('cgroup.type'), 'threaded');
  assert.equal(await has('cpuset.cpus.effective'), own.cpus);
  await assertWithin(host, own);
  const { pinning } = JSON.parse(await host.sh('corecast status --json | tail -1'));
  assert.equal(pinning.backend, 'cgroup');
  assert.match(pinning.reason, /^1 of \d channels have a cpuset of their own/);

  // Nobody can take its threads elsewhere, not for a moment.
  await host.sh(`taskset -acp 0-7 ${own.pid} >/dev/null; ${wholeWithin([own])}`);
  // On this kernel a reload that touches cpusets forgets affinities; a cpuset it does not.
  await host.sh(`mkdir -p /etc/systemd/system/user.slice.d
printf '[Slice]\\nAllowedCPUs=0-7\\n' >/etc/systemd/system/user.slice.d/all.conf
systemctl daemon-reload; ${wholeWithin([own])}`);

  // Somebody who may writes its cpuset: the daemon writes it back, and says what it was.
  await host.sh(`echo 2-7 >${files}/cpuset.cpus`);
  await logged(host, mark, /^threads had left their CPUs: the CPUs of its cgroup .* had been set to 2-7/);
  assert.equal(await has('cpuset.cpus.effective'), own.cpus);
  await assertWithin(host, own);

  // It moves, cpuset and all, when one of its CPUs goes.
  const [dead] = expand(own.cpus);
  await host.sh(`systemctl stop sport; echo 0 >/sys/devices/system/cpu/cpu${dead}/online`);
  own = await moved(host, 'own', dead);
  assert.equal(await has('cpuset.cpus.effective'), own.cpus);
  await assertWithin(host, own);
  await host.sh(`echo 1 >/sys/devices/system/cpu/cpu${dead}/online`);

  await host.sh('systemctl restart corecastd', 600_000);
  assert.deepEqual(await attached(host, 'own'), own);
  assert.equal(await has('cpuset.cpus'), own.cpus);

  // The unit still knows what is its own: its memory, its pressure, and whom to stop.
  const memory = Number(await host.sh('systemctl show encoder@own -p MemoryCurrent --value'));
  await host.sh(`grep -q '^some' ${files}/cpu.pressure`);
  await host.sh('systemctl stop encoder@own');
  await host.until('the cgroup is gone', `[ ! -e ${files} ] && ! kill -0 ${own.pid} 2>/dev/null`);
  await startChannel(host, 'sport', '--cpus 1');
  return { cgroup: path, unit_memory_mb: Math.round(memory / 2 ** 20) };
}

/** `corecast run --exec`: the process that made the cpuset becomes FFmpeg in it. */
async function lightMode(host) {
  const light = await startExampleUnit(host, 'light', '--exec --cpus 1');
  const path = await host.sh(`cut -d: -f3 /proc/${light.pid}/cgroup`);
  assert.match(path, /encoder@light\.service\/corecast-\d+$/);
  assert.equal(await host.sh(`cat /sys/fs/cgroup${path}/cpuset.cpus.effective`), light.cpus);
  await assertWithin(host, light);
  assert.equal(await host.sh('systemctl show encoder@light -p MainPID --value'), String(light.pid));
  await host.sh('systemctl stop encoder@light');
  await host.until('its cgroup is gone', `[ ! -e /sys/fs/cgroup${path} ]`);
  return {};
}

/** corecast-fence: services and sessions are on the housekeeping CPUs, channels in corecast.slice where they were. */
async function fence(host) {
  await host.sh('systemctl stop news sport');
  const news = await startExampleUnit(host, 'news', '--exclusive --cpus 2');
  await host.sh('/usr/sbin/corecast-fence on 0-1', 600_000);
  const listOf = (pid) => host.sh(`grep Cpus_allowed_list /proc/${pid}/status | cut -f2`);
  assert.equal(await listOf('self'), '0-1', 'a service');
  assert.equal(await listOf(1), '0-1', 'the init');
  const daemon = await host.sh('systemctl show corecastd -p MainPID --value');
  assert.equal(await listOf(daemon), '0-7', 'corecastd');
  assert.deepEqual(await attached(host, 'news'), news);
  await assertWithin(host, news);
  const sport = await startChannel(host, 'sport', '--cpus 1', '-p Slice=corecast.slice');
  await assertWithin(host, sport);
  // A service with more to do than its CPUs can take.
  const busy = await host.sh(`pids=
for i in 1 2 3 4 5 6; do sh -c 'while :; do :; done' & pids="$pids $!"; done
for i in 1 2 3 4 5 6 7 8; do sleep 0.3; ps -o psr= -p "$(echo $pids | tr ' ' ,)"; done | sort -un | xargs
kill $pids`);
  const ran = busy.trim().split(' ').map(Number);
  assert.ok(
    ran.every((cpu) => cpu <= 1),
    `a busy service ran on CPUs ${ran}`,
  );
  await host.sh('/usr/sbin/corecast-fence off', 600_000);
  assert.equal(await listOf('self'), '0-7', 'a service, without the fence');
  assert.deepEqual(await attached(host, 'news'), news);
  await host.until('the masks are right', wholeWithin([news, sport]));
  return { busy_service_on: busy.trim() };
}

async function processes(host) {
  const all = [];
  for (const name of NAMES) all.push(await attached(host, name));
  return all;
}

/** No channel noticed: the same processes on the same CPUs, attached. */
async function unchanged(host, before) {
  for (const one of before) {
    const now = await attached(host, one.name);
    assert.deepEqual(now, one);
    await assertWithin(host, now);
  }
  await assertOwnership(host);
}

async function reboot(host) {
  await processes(host);
  await host.reboot();
  return afterBoot(host);
}

async function powerLoss(host) {
  await host.sh('rm -rf /etc/systemd/system/*.slice.d && systemctl daemon-reload');
  await startChannel(host, 'news', '--exclusive --cpus 2');
  await startChannel(host, 'sport', '--cpus 1');
  await host.powerCycle();
  return afterBoot(host);
}

/** Nothing ran on: each reservation is over, each CPU free, and the log says so. */
async function afterBoot(host) {
  await host.until('corecastd is up', 'systemctl is-active --quiet corecastd', 600_000);
  const { channels, reservedMilli } = await status(host);
  assert.deepEqual(
    channels.filter(({ state }) => state === 'ACTIVE' || state === 'PENDING' || state === 'ORPHANED'),
    [],
  );
  assert.equal(reservedMilli, 0);
  // All three cores that are not housekeeping can be had.
  const all = await startChannel(host, 'whole', '--exclusive --cpus 6');
  assert.deepEqual(sorted(expand(all.cpus)), [2, 3, 4, 5, 6, 7]);
  await host.sh('systemctl stop whole');
  const said = await host.run(
    `journalctl -b -u corecastd -o cat --no-pager | grep -o '"reservation [^"]*now RELEASED[^"]*' | head -2`,
  );
  return { said: said.output.replaceAll('\n', '; ') };
}

function wholeWithin(channels) {
  const checks = channels.map(
    ({ pid, cpus }) =>
      `for list in $(grep -h Cpus_allowed_list /proc/${pid}/task/*/status | cut -f2); do [ "$list" = "${cpus}" ] || { echo ${pid} on $list; exit 7; }; done`,
  );
  return checks.join('; ');
}

export const SCENARIOS = [
  { name: 'the unit starts and serves', run: unitStarts },
  { name: 'two channels run where they were promised', run: channelsRun },
  { name: 'daemon-reload: masks are put right', run: daemonReload },
  { name: 'a CPU goes offline and comes back', run: cpuOffline },
  { name: 'the daemon restarts', run: daemonRestarts },
  { name: 'the daemon is upgraded', run: daemonUpgrade },
  { name: 'the watchdog ends a daemon that hangs', run: watchdog },
  { name: 'a channel with a cpuset of its own', run: ownCpuset },
  { name: 'light mode with a cpuset of its own', run: lightMode },
  { name: 'others are fenced off', run: fence },
  { name: 'reboot with reservations', run: reboot },
  { name: 'power loss with reservations', run: powerLoss },
];
