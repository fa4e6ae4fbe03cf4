import { readFileSync, statSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { CorecastError, type FieldViolation, isCorecastError, messageOf } from '../lib/errors.js';
import { loopbackAddress } from './address.js';
import { explainIssues } from './explain.js';
import { DEFAULT_CONFIG_FILE } from './paths.js';
import { relations } from './relations.js';
import { type Config, configSchema } from './schema.js';

const MAX_FILE_BYTES = 1024 * 1024;

export interface CheckedConfig {
  /** The file that was read; undefined when there was none and the defaults hold. */
  readonly file: string | undefined;
  /** Everything that is wrong, by key. Empty: the configuration is good. */
  readonly problems: readonly FieldViolation[];
  /** Undefined when there are problems. */
  readonly config: Config | undefined;
}

/** The configuration, or CONFIG_INVALID with everything that is wrong with it. Without a path: the default file, if any. */
export function loadConfig(path: string | undefined): Config {
  const { config, problems, file } = checkConfig(path);
  if (config !== undefined) return config;
  const message = `${file ?? 'configuration'}: ${problems.map((one) => one.description).join('; ')}`;
  throw new CorecastError('CONFIG_INVALID', message, { violations: problems });
}

/** Like loadConfig, but hands back what is wrong instead of throwing it. A file that cannot be read still throws. */
export function checkConfig(path: string | undefined): CheckedConfig {
  const text = readConfigFile(path ?? DEFAULT_CONFIG_FILE, path !== undefined);
  if (text === undefined) return { file: undefined, problems: [], config: configSchema.parse({}) };
  return { file: path ?? DEFAULT_CONFIG_FILE, ...parseConfig(text) };
}

/** corecast.toml from its text. */
export function parseConfig(text: string): Pick<CheckedConfig, 'problems' | 'config'> {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (error) {
    return { problems: [syntaxProblem(error)], config: undefined };
  }
  const result = configSchema.safeParse(raw);
  if (!result.success) return { problems: explainIssues(result.error.issues, raw), config: undefined };
  const problems = [...addressProblems(result.data), ...relations(result.data)];
  return { problems, config: problems.length === 0 ? result.data : undefined };
}

function readConfigFile(file: string, mustExist: boolean): string | undefined {
  try {
    const { size } = statSync(file);
    if (size > MAX_FILE_BYTES)
      throw new Error(`it is ${size} bytes long; at most ${MAX_FILE_BYTES} are read`);
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return undefined;
    throw new CorecastError('CONFIG_INVALID', `cannot read ${file}: ${messageOf(cause)}`, { cause });
  }
}

function syntaxProblem(error: unknown): FieldViolation {
  if (!(error instanceof TomlError)) return { field: '', description: messageOf(error) };
  // Its message goes on with a drawing of the place, over several lines.
  const [first = ''] = error.message.split('\n');
  return { field: '', description: `line ${error.line}, column ${error.column}: ${first}` };
}

function addressProblems({ daemon }: Config): FieldViolation[] {
  const problems: FieldViolation[] = [];
  for (const key of ['tcp_address', 'http_address'] as const) {
    try {
      loopbackAddress(`daemon.${key}`, daemon[key]);
    } catch (error) {
      if (!isCorecastError(error, 'CONFIG_INVALID')) throw error;
      problems.push(...(error.details.violations ?? []));
    }
  }
  return problems;
}
