import { fileURLToPath } from 'node:url';

/** Where the compiled daemon is. */
export const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
