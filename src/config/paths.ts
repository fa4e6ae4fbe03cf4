/**
 * Where things are unless told otherwise. Apart from schema.ts, so that the wrapper, which starts before every FFmpeg,
 * need not load the schema library for one path; a test holds this one and the schema's default together.
 */
export const DEFAULT_CONFIG_FILE = '/etc/corecast/corecast.toml';
export const DEFAULT_SOCKET = '/run/corecast/corecast.sock';

/** Where clients find the daemon: what they were given, else $CORECAST_SOCKET, else the default. */
export function clientSocket(given: string | undefined, env: NodeJS.ProcessEnv): string {
  return given ?? (env['CORECAST_SOCKET'] || DEFAULT_SOCKET);
}
