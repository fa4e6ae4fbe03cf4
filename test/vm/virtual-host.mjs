import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Eight CPUs: two sockets, each a NUMA node with two cores of two threads. No network. */
const MACHINE = [
  ['-machine', 'q35'],
  ['-cpu', 'Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid'],
  ['-smp', '8,sockets=2,cores=2,threads=2'],
  ['-m', '3G'],
  ['-object', 'memory-backend-ram,id=near,size=1536M'],
  ['-object', 'memory-backend-ram,id=far,size=1536M'],
  ['-numa', 'node,nodeid=0,cpus=0-3,memdev=near'],
  ['-numa', 'node,nodeid=1,cpus=4-7,memdev=far'],
  ['-numa', 'dist,src=0,dst=1,val=21'],
  ['-nodefaults'],
  ['-nic', 'none'],
  ['-display', 'none'],
].flat();
const KERNEL = 'root=/dev/vda rw console=ttyS0 loglevel=4 panic=-1 psi=1 systemd.show_status=0';
const BOOT_MS = 600_000;
const ANSWER_MS = 300_000;

/** A virtual host under QEMU, and commands run in it by root (guest/corecast-agent). What it writes is gone afterwards. */
export class VirtualHost {
  #qemu;
  #socket;
  #buffer = '';
  /** Lines that the agent wrote and nobody has taken, and who waits for one. */
  #lines = [];
  #waiting;
  #directory;
  bootId = '';

  /** `disks`: base.img, vmlinuz and initrd.img are in `cache`; the project on `project`. */
  static async boot({ cache, project, accelerated }) {
    const host = new VirtualHost();
    host.#start(cache, project, accelerated);
    await host.booted();
    return host;
  }

  #start(cache, project, accelerated) {
    this.#directory = mkdtempSync(join(cache, 'run-'));
    const port = join(this.#directory, 'agent');
    const args = [
      ...['-accel', accelerated ? 'kvm' : 'tcg,thread=multi'],
      ...MACHINE,
      ...['-kernel', join(cache, 'vmlinuz'), '-initrd', join(cache, 'initrd.img'), '-append', KERNEL],
      ...['-drive', `file=${join(cache, 'base.img')},if=virtio,format=raw,snapshot=on,cache=unsafe`],
      ...['-drive', `file=${project},if=virtio,format=raw,readonly=on`],
      ...['-device', 'virtio-serial', '-chardev', `socket,id=agent,path=${port},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=agent,name=corecast'],
      ...['-serial', `file:${this.consolePath}`],
    ];
    this.#qemu = spawn('qemu-system-x86_64', args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, TMPDIR: this.#directory },
    });
    this.#qemu.once('exit', (code, signal) => this.#fail(`QEMU ended (${signal ?? code})`));
    this.#qemu.once('error', (error) => this.#fail(`QEMU cannot run: ${error.message}`));
    void this.#connect(port);
  }

  get consolePath() {
    return join(this.#directory, 'console');
  }

  console() {
    return existsSync(this.consolePath) ? readFileSync(this.consolePath, 'utf8') : '';
  }

  async #connect(port) {
    while (!existsSync(port)) await sleep(50);
    this.#socket = createConnection(port);
    this.#socket.setEncoding('utf8').on('data', (text) => {
      const lines = (this.#buffer + text).split('\n');
      this.#buffer = lines.pop();
      for (const line of lines) this.#take(line);
    });
    this.#socket.on('error', (error) => this.#fail(error.message));
  }

  #take(line) {
    if (this.#waiting === undefined) this.#lines.push(line);
    else this.#waiting.resolve(line);
  }

  #fail(why) {
    this.ended = why;
    this.#waiting?.reject(new Error(`${why}\n${this.console().slice(-2000)}`));
  }

  async #line(what, limitMs) {
    if (this.#lines.length > 0) return this.#lines.shift();
    if (this.ended !== undefined) throw new Error(this.ended);
    const timer = setTimeout(
      () => this.#waiting.reject(new Error(`not within ${limitMs} ms: ${what}`)),
      limitMs,
    );
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting = { resolve, reject };
      });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Waits until the agent of a boot other than the last one says that it is there. */
  async booted() {
    for (;;) {
      const [word, id] = (await this.#line('the virtual host boots', BOOT_MS)).split(' ');
      if (word !== 'boot' || id === this.bootId) continue;
      this.bootId = id;
      return;
    }
  }

  /** Exit status and output (both streams) of a bash command. */
  async run(command, limitMs = ANSWER_MS) {
    this.#socket.write(`${Buffer.from(command).toString('base64')}\n`);
    const [status, output = ''] = (await this.#line(command, limitMs)).split(' ');
    return { status: Number(status), output: Buffer.from(output, 'base64').toString().trimEnd() };
  }

  /** Output of a command that must succeed. */
  async sh(command, limitMs) {
    const { status, output } = await this.run(`set -e; ${command}`, limitMs);
    if (status !== 0) throw new Error(`exit ${status}: ${command}\n${output}`);
    return output;
  }

  /** Asks until the command succeeds; returns its output. `limitMs` of the host's own time. */
  async until(what, command, limitMs = 120_000) {
    const giveUp = Date.now() + limitMs;
    for (;;) {
      const { status, output } = await this.run(command);
      if (status === 0) return output;
      if (Date.now() > giveUp) throw new Error(`not within ${limitMs / 1000} s: ${what}; last: ${output}`);
      await sleep(500);
    }
  }

  /** At once, as when the power fails: nothing is written any more. */
  async powerCycle() {
    this.#socket.write(`${Buffer.from('echo b >/proc/sysrq-trigger').toString('base64')}\n`);
    await this.booted();
  }

  async reboot() {
    this.#socket.write(`${Buffer.from('systemctl reboot').toString('base64')}\n`);
    await this.booted();
  }

  async close() {
    const running = this.#qemu.exitCode === null && this.#qemu.signalCode === null;
    this.#qemu.removeAllListeners('exit');
    if (running) {
      const gone = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGKILL');
      await gone;
    }
    this.#socket?.destroy();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
