/**
 * What corecast ends with. Where an FFmpeg ran, `corecast run` ends as that FFmpeg did: its exit code, or the signal that
 * killed it. The other numbers are those of sysexits.h, so that a supervisor can tell them from FFmpeg's 0, 1 and 255.
 */
export const EXIT = {
  ok: 0,
  /** Anything without a number of its own. */
  failure: 1,
  /** The command line of corecast itself. */
  usage: 64,
  /** The daemon cannot forecast this command: a value that it names. With --require. */
  dataError: 65,
  /** No daemon, with --require; or a subcommand that needs one. */
  unavailable: 69,
  /** Refused for now: ask again later. */
  tryLater: 75,
  /** Not this user's. */
  noPermission: 77,
  /** corecast.toml, or the host, fails the check. */
  config: 78,
  /** FFmpeg could not be executed; it was not found. As shells say it. */
  cannotExecute: 126,
  notFound: 127,
} as const;

/** For --help. */
export const EXIT_CODE_HELP = `
Exit codes:
  FFmpeg's own, or death by its signal, whenever FFmpeg ran
  64   bad corecast options               75   refused for want of room: try later
  65   command cannot be forecast         77   permission denied
  69   daemon unreachable                 78   configuration or host fails the check
  126  FFmpeg cannot be executed          127  FFmpeg not found`;
