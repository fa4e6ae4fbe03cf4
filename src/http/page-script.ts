/**
 * Asks /api/status every two seconds while the page can be seen, and draws it. Every text goes in through textContent:
 * channel names come from whoever may reserve.
 */
export const PAGE_SCRIPT = `
'use strict';
(() => {
  const EVERY_MS = 2000;
  const STALE_MS = 15000;
  const byId = (id) => document.getElementById(id);
  const percent = (share) => Math.round(share * 100) + ' %';
  const number = (value, digits) => value.toFixed(digits === undefined ? 1 : digits);
  let lastAnswerMs = Date.now();
  let timer;

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function bytes(value) {
    const gib = value / 1073741824;
    return gib >= 10 ? number(gib, 0) + ' GiB' : number(gib) + ' GiB';
  }
  function bits(value) {
    if (value >= 1e9) return number(value / 1e9) + ' Gb/s';
    return number(value / 1e6) + ' Mb/s';
  }
  function since(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60) return s + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min';
    if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor((s % 3600) / 60) + ' min';
    return Math.floor(s / 86400) + ' d ' + Math.floor((s % 86400) / 3600) + ' h';
  }

  function header(view) {
    byId('host').textContent = view.hostname;
    document.title = view.hostname + ' – corecast';
    byId('version').textContent = 'corecastd ' + view.version + (view.cpuModel ? ' on ' + view.cpuModel : '');
    const badge = byId('admission');
    const closed = view.admissionClosedReason !== '';
    badge.textContent = closed ? 'Closed to new channels: ' + view.admissionClosedReason : 'Open to new channels';
    badge.className = 'badge ' + (closed ? 'bad' : 'good');
  }

  function tiles(view) {
    const counts = view.counts;
    const running = (counts.ACTIVE || 0) + (counts.ORPHANED || 0);
    const load = view.load;
    const list = [
      [load ? percent(load.busy) : '–', 'host load now'],
      [view.schedulableMilli ? percent(view.reservedMilli / view.schedulableMilli) : '–',
        'reserved of ' + view.schedulableMilli / 1000 + ' CPUs'],
      [String(running), 'running' + (counts.ORPHANED ? ', ' + counts.ORPHANED + ' without holder' : '')],
      [String(counts.PENDING || 0), 'about to start'],
      [String(counts.QUEUED || 0), 'waiting for room' + (counts.PAUSED ? ', ' + counts.PAUSED + ' paused' : '')],
    ];
    for (const span of view.forecast || []) {
      list.push([Math.round(span.q50 * 100) + '–' + percent(span.q90),
        'forecast load, ' + span.fromS + '–' + span.toS + ' s']);
    }
    if (load) {
      list.push([bytes(load.memoryAvailableBytes), 'memory free of ' + bytes(load.memoryTotalBytes)]);
      list.push([bits(load.ingressBps), 'ingress']);
      list.push([percent(load.cpuPressure), 'of 10 s some task waited for CPU']);
      list.push([percent(load.memoryPressure) + ', ' + percent(load.ioPressure), 'for memory, for a disk']);
      list.push([percent(load.diskBusy), 'busiest disk']);
      for (const gpu of load.gpus) {
        list.push([gpu.busy === null ? '–' : percent(gpu.busy),
          gpu.name + (gpu.encoderBusy === null ? '' : ', encoder ' + percent(gpu.encoderBusy))]);
      }
      // What should be nothing is shown when it is not.
      if (load.queueLength > 0) list.push([number(load.queueLength, 0), 'packets, frames and channels waiting', 'warn']);
      if (load.networkDropsPerS > 0) list.push([number(load.networkDropsPerS) + '/s', 'packets dropped by interfaces', 'warn']);
      if (load.swapUsedBytes > 0) list.push([bytes(load.swapUsedBytes), 'swap in use', 'warn']);
      if (load.majorFaultsPerS >= 1) list.push([number(load.majorFaultsPerS, 0) + '/s', 'page faults waited for a disk', 'warn']);
    }
    const { outcomes, coverage90, alarms } = view.calibration;
    if (outcomes) list.push([percent(coverage90), 'of ' + outcomes + ' outcomes within their 0.9 forecast']);
    for (const alarm of alarms) {
      const what = alarm.level === 2 ? 'left out' : 'widened';
      list.push([alarm.family + ' ' + what, alarm.source + ' drifts: ' + alarm.reason, 'warn']);
    }
    byId('tiles').replaceChildren(...list.map(([value, label, state]) => {
      const tile = element('div', 'tile' + (state ? ' ' + state : ''));
      tile.append(element('b', '', value), element('span', '', label));
      return tile;
    }));
  }

  function trend(view) {
    const svg = byId('trend');
    const make = (name, attributes) => {
      const node = document.createElementNS('http://www.w3.org/2000/svg', name);
      for (const key in attributes) node.setAttribute(key, attributes[key]);
      return node;
    };
    const from = view.nowMs - 600000;
    const at = (point) => ((point.atMs - from) / 1000).toFixed(1) + ' ' + (100 - point.value * 100).toFixed(1);
    const shown = view.trend.filter((point) => point.atMs >= from);
    const parts = [0, 50, 100].map((y) => make('line', { x1: 0, x2: 600, y1: y, y2: y }));
    if (shown.length > 1) parts.push(make('path', { d: 'M' + shown.map(at).join('L') }));
    svg.replaceChildren(...parts);
    const values = shown.map((point) => point.value);
    svg.setAttribute('aria-label', values.length === 0 ? 'No samples yet'
      : 'Between ' + percent(Math.min(...values)) + ' and ' + percent(Math.max(...values)));
  }

  // The number keeps the top of the cell for itself.
  const bar = (share) => 'calc((100% - 1.25rem) * ' + Math.min(1, share).toFixed(3) + ')';

  function cpus(view) {
    const groups = new Map();
    for (const cpu of view.cpus) {
      const key = 'node ' + cpu.node + ', L3 ' + cpu.l3;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(cpu);
    }
    byId('cpus').replaceChildren(...[...groups].map(([name, members]) => {
      const group = element('div', 'group');
      const grid = element('div', 'grid');
      for (const cpu of members) {
        const cell = element('div', 'cpu' + (cpu.online ? '' : ' off') + (cpu.housekeeping ? ' house' : ''));
        const busy = element('i');
        busy.style.height = bar(cpu.busy);
        const reserved = element('i');
        reserved.style.height = bar(cpu.reservedMilli / 1000);
        cell.append(busy, reserved, element('span', '', String(cpu.cpu)));
        cell.title = 'CPU ' + cpu.cpu + ' (core ' + cpu.core + '): '
          + (cpu.online ? percent(cpu.busy) + ' busy, ' + percent(cpu.reservedMilli / 1000) + ' reserved' : 'offline')
          + (cpu.housekeeping ? ', housekeeping' : '');
        grid.append(cell);
      }
      if (groups.size > 1) group.append(element('span', '', name));
      group.append(grid);
      return group;
    }));
  }

  function channels(view) {
    const table = byId('channels');
    const none = byId('none');
    table.hidden = view.channels.length === 0;
    none.hidden = view.channels.length > 0 && view.channelsNotListed === 0;
    none.textContent = view.channels.length === 0
      ? 'No channels. Start one with: corecast run -- ffmpeg …'
      : 'and ' + view.channelsNotListed + ' more';
    table.tBodies[0].replaceChildren(...view.channels.map((one) => row(view, one)));
  }

  function row(view, one) {
    const tr = element('tr');
    const cell = (label, text, className) => {
      const td = element('td', className || '');
      if (label) td.dataset.label = label;
      td.append(element('span', '', text));
      tr.append(td);
      return td;
    };
    const behind = one.lagSeconds !== null && one.lagSeconds > 1;
    const slow = one.channelClass === 'live' && one.speed !== null && one.speed < 0.95;
    const over = one.usageCores !== null && one.forecastQ90Cores !== null && one.usageCores > one.forecastQ90Cores;
    const name = cell('', one.name || one.id, 'name');
    name.append(element('small', '', one.channelClass + ', priority ' + one.priority));
    const words = { ACTIVE: 'running', PENDING: 'starting', QUEUED: 'waiting', ORPHANED: 'no holder', PAUSED: 'paused' };
    const colours = { ACTIVE: 'good', ORPHANED: 'bad', QUEUED: 'warn', PAUSED: 'warn', PENDING: '' };
    const state = cell('', words[one.state] || one.state.toLowerCase(), colours[one.state]);
    if (one.reason && one.state !== 'ACTIVE') state.append(element('small', '', one.reason));
    cell('CPUs', one.cpus || '–');
    cell('Use', one.usageCores === null ? '–' : number(one.usageCores, 2)
      + (one.forecastQ90Cores === null ? '' : ' / ' + number(one.forecastQ90Cores, 2)), 'n' + (over ? ' warn' : ''));
    cell('Speed', one.speed === null ? '–' : number(one.speed, 2) + '×', 'n' + (slow ? ' bad' : ''));
    cell('Behind', one.lagSeconds === null ? '–' : number(one.lagSeconds) + ' s', 'n' + (behind ? ' bad' : ''));
    const waits = [one.waitingBytes > 0 ? bytes(one.waitingBytes) : '', one.waitingDatagrams > 0 ? one.waitingDatagrams + ' packets' : '']
      .filter(Boolean).join(', ');
    const input = cell('In', one.ingressBps === null ? '–' : bits(one.ingressBps), 'n' + (one.droppedDatagrams > 0 ? ' warn' : ''));
    if (waits) input.append(element('small', '', waits + ' waiting'));
    if (one.droppedDatagrams > 0) input.append(element('small', '', one.droppedDatagrams + ' lost'));
    cell('Rung', one.rung === 0 ? 'full' : String(one.rung), 'n' + (one.rung > 0 ? ' warn' : ''));
    cell('Since', since(view.nowMs - one.changedMs));
    return tr;
  }

  function alertText(text) {
    const box = byId('alert');
    box.hidden = text === '';
    if (box.textContent !== text) box.textContent = text;
    document.body.classList.toggle('stale', text !== '');
  }

  async function refresh() {
    clearTimeout(timer);
    try {
      const answer = await fetch('/api/status', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error('corecastd answered ' + answer.status);
      const view = await answer.json();
      lastAnswerMs = Date.now();
      header(view);
      tiles(view);
      trend(view);
      cpus(view);
      channels(view);
      const age = view.load ? view.nowMs - view.load.atMs : 0;
      alertText(!view.load ? 'No sample yet: the monitor has not ticked.'
        : age > STALE_MS ? 'Stale: the last sample is ' + since(age) + ' old. The monitor does not tick.' : '');
    } catch (error) {
      alertText('No contact with corecastd for ' + since(Date.now() - lastAnswerMs)
        + '; what is shown is from then. Trying again.');
    }
    if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
  }
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
  refresh();
})();
`;
