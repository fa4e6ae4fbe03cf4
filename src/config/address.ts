import { isIPv4, isIPv6 } from 'node:net';
import { CorecastError } from '../lib/errors.js';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * "127.0.0.1:PORT" or "[::1]:PORT"; undefined for "". Anything but loopback is refused: there is no encryption and no
 * credentials on these ports. Port 0 lets the kernel choose.
 */
export function loopbackAddress(key: string, text: string): TcpAddress | undefined {
  if (text === '') return undefined;
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([\d.]+|localhost)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? (match?.[2] === 'localhost' ? '127.0.0.1' : match?.[2]);
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535 || !isLoopback(host)) {
    const description = `${key} is ${JSON.stringify(text)}; expected a loopback address such as "127.0.0.1:9137" or "[::1]:9137", or "" for none`;
    throw new CorecastError('CONFIG_INVALID', description, { violations: [{ field: key, description }] });
  }
  return { host, port };
}

function isLoopback(host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1');
}
