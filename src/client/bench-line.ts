/** FFmpeg's own getrusage at its end (-benchmark): exact, all threads, that process alone. */
export function parseBench(text: string): { userSeconds: number; systemSeconds: number } | undefined {
  const match = /bench: utime=([\d.]+)s stime=([\d.]+)s/.exec(text);
  return match === null ? undefined : { userSeconds: Number(match[1]), systemSeconds: Number(match[2]) };
}
