/** What the scenarios ask of corecastd and its channels in the virtual host. */
import assert from 'node:assert/strict';

const STATUS = `exec 9<>/dev/tcp/127.0.0.1/9137
printf 'GET /api/status HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&9
sed '1,/^\\r$/d' <&9`;
/** Emulated CPUs are many times slower than the unit's times are meant for. WatchdogSec stays the unit's own. */
const SLOW = '[Service]\\nTimeoutStartSec=10min\\n';

/** The client waits five seconds for an answer; a busy emulator may need more. */
const AGAIN = '-p Restart=on-failure -p RestartSec=1s -p StartLimitIntervalSec=0';

/** As docs/production.md says, and a clip to transcode. */
export async function install(host) {
  await host.sh(`cd /usr/lib/corecast
ln -sf /usr/lib/corecast/dist/client/cli.js /usr/bin/corecast
install -m 644 systemd/corecast.sysusers.conf /usr/lib/sysusers.d/corecast.conf && systemd-sysusers
install -m 644 systemd/corecast.tmpfiles.conf /usr/lib/tmpfiles.d/corecast.conf && systemd-tmpfiles --create corecast.conf
install -m 644 -D systemd/corecast.toml /etc/corecast/corecast.toml
install -m 644 systemd/corecastd.service systemd/corecast.slice /etc/systemd/system/
install -m 755 systemd/corecast-fence /usr/sbin/
usermod -aG corecast encoder
# The host is slow and its load that of its neighbours: nothing here is about the forecast.
sed -i 's/^host_load = 0.9 /host_load = 1 /; s/^sustain_ms = .*/sustain_ms = 600000/; s/^schedule = true/schedule = false/' /etc/corecast/corecast.toml
mkdir -p /etc/systemd/system/corecastd.service.d
printf '${SLOW}' >/etc/systemd/system/corecastd.service.d/slow.conf
systemctl daemon-reload
ffmpeg -v error -f lavfi -i testsrc2=size=96x64:rate=5:duration=120 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -y /srv/clip.mp4`);
}

/** /api/status, once the daemon answers. */
export async function status(host) {
  return JSON.parse(await host.until('corecastd answers', STATUS));
}

export async function channel(host, name) {
  return (await status(host)).channels.find((row) => row.name === name);
}

/**
 * A live channel in a unit of its own, as user encoder: `corecast run OPTIONS -- ffmpeg ...`. Returns once its FFmpeg is
 * attached: { name, pid, startTicks, cpus }.
 */
export async function startChannel(host, name, options, properties = '') {
  await host.sh(`systemctl reset-failed ${name} 2>/dev/null || true
systemd-run --quiet --unit=${name} ${AGAIN} -p User=encoder -p SupplementaryGroups=corecast ${properties} ${runCommand(name, options)}`);
  return started(host, name, name);
}

/** The same by examples/encoder@.service, with another command. */
export async function startExampleUnit(host, name, options) {
  await host.sh(`install -m 644 /usr/lib/corecast/examples/encoder@.service /etc/systemd/system/
mkdir -p /etc/systemd/system/encoder@${name}.service.d
printf '[Service]\\nExecStart=\\nExecStart=%s\\n' '${runCommand(name, options)}' >/etc/systemd/system/encoder@${name}.service.d/test.conf
systemctl daemon-reload
systemctl start encoder@${name}`);
  return started(host, name, `encoder@${name}`);
}

function runCommand(name, options) {
  const ffmpeg = `ffmpeg -v error -re -stream_loop -1 -i /srv/clip.mp4 -metadata title=${name} -c:v libx264 -preset ultrafast -f null -`;
  return `/usr/bin/corecast run --require --name ${name} --class live ${options} -- ${ffmpeg}`;
}

async function started(host, name, unit) {
  await host.until(
    `${name} is attached`,
    `systemctl is-active --quiet ${unit} || { journalctl -o cat -u ${unit} | tail -5; exit 7; }
pgrep -f '^ffmpeg .*title=${name} ' >/dev/null`,
    300_000,
  );
  return attached(host, name);
}

export async function attached(host, name) {
  const giveUp = Date.now() + 120_000;
  for (;;) {
    const row = await channel(host, name);
    if (row?.state === 'ACTIVE') return { name, cpus: row.cpus, ...(await processOf(host, name)) };
    assert.ok(Date.now() < giveUp, `${name} is not ACTIVE but ${row?.state}`);
  }
}

async function processOf(host, name) {
  const output = await host.sh(
    `pid=$(pgrep -f '^ffmpeg .*title=${name} '); echo $pid $(cut -d' ' -f22 /proc/$pid/stat)`,
  );
  const [pid, startTicks] = output.split(' ').map(Number);
  return { pid, startTicks };
}

/** The CPU lists of all threads, each once. */
async function masks(host, pid) {
  const output = await host.sh(`grep -h Cpus_allowed_list /proc/${pid}/task/*/status | cut -f2 | sort -u`);
  return output.split('\n').map((text) => expand(text.trim()));
}

export async function assertWithin(host, { name, pid, cpus }) {
  for (const mask of await masks(host, pid)) {
    assert.ok(
      mask.every((cpu) => expand(cpus).includes(cpu)),
      `${name}: a thread may run on ${mask}, reserved are ${cpus}`,
    );
  }
}

/** "0-2,5" to numbers. */
export function expand(text) {
  return text.split(',').flatMap((part) => {
    const [from, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** The daemon's log lines since a mark, as objects. Counted, because journalctl --after-cursor skips the first match of a filter. */
export async function logSince(host, mark) {
  const output = await host.sh(`${LOG} | tail -n +${mark + 1}`);
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

export async function logMark(host) {
  return Number(await host.sh(`${LOG} | wc -l`));
}

const LOG = 'journalctl -b -u corecastd -o cat --no-pager';

/** Waits until a log line of the daemon matches; returns it. */
export async function logged(host, mark, pattern, limitMs = 120_000) {
  const giveUp = Date.now() + limitMs;
  for (;;) {
    const line = (await logSince(host, mark)).find(({ msg }) => pattern.test(msg));
    if (line !== undefined) return line;
    assert.ok(Date.now() < giveUp, `the daemon did not log ${pattern} within ${limitMs / 1000} s`);
  }
}

/** No CPU is promised more than once over; offline and housekeeping CPUs not at all. */
export async function assertOwnership(host) {
  const { cpus } = await status(host);
  for (const { cpu, online, housekeeping, reservedMilli } of cpus) {
    assert.ok(reservedMilli <= 1000, `CPU ${cpu} is promised ${reservedMilli} thousandths`);
    if (!online || housekeeping) assert.equal(reservedMilli, 0, `CPU ${cpu} is not to be reserved`);
  }
}
