/** Numbers as an operator reads them. */

export function cores(milli: number): string {
  const value = (milli / 1000).toFixed(2);
  return value === '1.00' ? '1.00 core' : `${value} cores`;
}

export function percent(share: number): string {
  const value = share * 100;
  return `${Number.isInteger(value) ? value : Math.round(value * 10) / 10} %`;
}

export function bytes(value: number): string {
  const mib = value / 2 ** 20;
  return Math.abs(mib) >= 1024 ? `${(mib / 1024).toFixed(1)} GiB` : `${Math.round(mib)} MiB`;
}

export function bitrate(bps: number): string {
  return Math.abs(bps) >= 1e9 ? `${(bps / 1e9).toFixed(2)} Gbit/s` : `${(bps / 1e6).toFixed(1)} Mbit/s`;
}

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
