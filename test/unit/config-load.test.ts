import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loopbackAddress } from '../../src/config/address.js';
import { checkConfig, loadConfig, parseConfig } from '../../src/config/load.js';
import { clientSocket, DEFAULT_SOCKET } from '../../src/config/paths.js';
import { configSchema } from '../../src/config/schema.js';
import { makeTree } from '../support/make-tree.js';

const descriptions = (text: string) => parseConfig(text).problems.map((problem) => problem.description);

describe('corecast.toml', () => {
  it('may be empty: every key has a default, and the defaults hold together', () => {
    expect(parseConfig('')).toEqual({ problems: [], config: configSchema.parse({}) });
  });

  it.each([
    [
      '[daemon]\nsokcet = "/x"',
      'daemon.sokcet is not a key that corecast knows; did you mean daemon.socket?',
    ],
    ['[deamon]\nsocket = "/x"', 'deamon is not a key that corecast knows; did you mean daemon?'],
    [
      '[limits]\nlease_ms = 1',
      'limits.lease_ms is not a key that corecast knows; did you mean leases.lease_ms?',
    ],
    ['colour = "red"', 'colour is not a key that corecast knows'],
    ['[limits]\nheadroom = 1.5', 'limits.headroom is 1.5; expected at most 0.9'],
    ['[limits]\nheadroom = nan', 'limits.headroom is NaN; expected a number'],
    ['[limits]\nchannels = 2.5', 'limits.channels is 2.5; expected a whole number'],
    ['[limits]\nqueue = "many"', 'limits.queue is "many"; expected a number'],
    ['[daemon]\nsocket = ""', 'daemon.socket is ""; expected text of at least 1 character'],
    ['[daemon]\nsocket = "run/x"', 'daemon.socket is "run/x"; expected an absolute path'],
    ['daemon = 3', 'daemon is 3; expected a table'],
    ['[training]\nschedule = "nightly"', 'training.schedule is "nightly"; expected a boolean'],
    ['[training]\ninterval_ms = 10', 'training.interval_ms is 10; expected at least 1000'],
    [
      '[training]\nhours = "1-24"',
      'training.hours is "1-24"; expected hours 0-23 as a list, such as "1-5,22"',
    ],
    ['[training]\nhours = ""', 'training.hours is ""; expected hours 0-23 as a list, such as "1-5,22"'],
    [
      '[training]\nhours = "nightly"',
      'training.hours is "nightly"; expected hours 0-23 as a list, such as "1-5,22"',
    ],
    ['[training]\nhost_load = 60', 'training.host_load is 60; expected at most 1'],
    ['[cpus]\nhousekeeping = "0-"', 'cpus.housekeeping is "0-"; expected "auto" or a CPU list: "0-1,8"'],
    [
      '[daemon]\nlog_level = "loud"',
      'daemon.log_level is "loud"; expected one of "trace", "debug", "info", "warn", "error", "silent"',
    ],
  ])('%j is answered with key, value and what is expected', (text, description) => {
    expect(descriptions(text)).toEqual([description]);
  });

  it('is refused with all problems at once, and with line and column when it is no TOML', () => {
    expect(descriptions('[daemon]\nsokcet = "x"\n[limits]\nqueue = -1\nhost_load = 2')).toHaveLength(3);
    expect(descriptions('[daemon\nsocket = 1')[0]).toMatch(/^line 1, column 8: /);
  });

  it('keeps ports without encryption on loopback', () => {
    for (const key of ['tcp_address', 'http_address']) {
      for (const address of [
        '0.0.0.0:80',
        '10.0.0.1:80',
        '[::]:80',
        'example.org:80',
        '127.0.0.1:99999',
        ':80',
      ]) {
        expect(descriptions(`[daemon]\n${key} = "${address}"`)[0]).toContain(`daemon.${key} is "${address}"`);
      }
      expect(descriptions(`[daemon]\n${key} = "[::1]:80"`)).toEqual([]);
      expect(descriptions(`[daemon]\n${key} = ""`)).toEqual([]);
    }
    expect(loopbackAddress('x', 'localhost:1234')).toEqual({ host: '127.0.0.1', port: 1234 });
    expect(loopbackAddress('x', '')).toBeUndefined();
  });

  it('is read from the file that was named, whose name stands in every error', () => {
    const tree = makeTree({ 'good.toml': '[limits]\nqueue = 7\n', 'bad.toml': '[limits]\nqueue = -7\n' });
    const at = (name: string) => join(tree.root, name);
    expect(loadConfig(at('good.toml')).limits.queue).toBe(7);
    expect(checkConfig(at('bad.toml'))).toMatchObject({
      file: at('bad.toml'),
      problems: [{ field: 'limits.queue' }],
      config: undefined,
    });
    expect(() => loadConfig(at('bad.toml'))).toThrow(
      `${at('bad.toml')}: limits.queue is -7; expected at least 0`,
    );
    expect(() => loadConfig(at('none.toml'))).toThrow(`cannot read ${at('none.toml')}`);
    writeFileSync(at('huge.toml'), '#'.repeat(1024 * 1024 + 1));
    expect(() => loadConfig(at('huge.toml'))).toThrow('at most 1048576 are read');
    tree.remove();
  });
});

describe('the socket that clients use', () => {
  it('is the given one, else $CORECAST_SOCKET, else what the daemon uses by default', () => {
    expect(clientSocket('/a', { CORECAST_SOCKET: '/b' })).toBe('/a');
    expect(clientSocket(undefined, { CORECAST_SOCKET: '/b' })).toBe('/b');
    expect(clientSocket(undefined, { CORECAST_SOCKET: '' })).toBe(DEFAULT_SOCKET);
    expect(DEFAULT_SOCKET).toBe(configSchema.parse({}).daemon.socket);
  });
});
