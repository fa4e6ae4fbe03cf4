/** Runs the seeds that it is handed, a portion at a time. */
import { parentPort, workerData } from 'node:worker_threads';

const { runSeeds } = await import(workerData.module);

parentPort.on('message', async ({ from, count }) => {
  const { seeds, failures } = await runSeeds(from, count, { directory: workerData.directory });
  parentPort.postMessage({ seeds, failures });
});
parentPort.postMessage({ seeds: 0, failures: [] });
