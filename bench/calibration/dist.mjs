import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
/** What was built; CORECAST_DIST names another place. */
export const dist = process.env.CORECAST_DIST ?? `${root}/dist`;
