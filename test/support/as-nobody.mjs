/** `node as-nobody.mjs DIST SOCKET PID RESERVATION TOKEN`: what uid 65534 may do, as one JSON object. */
const [dist, socket, pid, reservationId, token] = process.argv.slice(2);
const { connect } = await import(`${dist}/client/connect.js`);
process.setgid(65534);
process.setuid(65534);
const client = await connect({ socket, timeoutMs: 5_000 });
const video = { width: 320, height: 180, fps: 25, bitDepth: 8 };
const signature = {
  input: { codec: 'h264', bitrateBps: 500_000, ...video },
  outputs: [{ encoder: 'libx264', preset: 'ultrafast', crf: 23, ...video }],
};
const codeOf = (call) =>
  call.then(
    () => 'OK',
    ({ code }) => code,
  );
const key = (name) => `${name} of process ${process.pid}`;
const { reservation } = await client.reserve({
  signature,
  channelClass: 'CHANNEL_CLASS_LIVE',
  name: 'of nobody',
  idempotencyKey: key('reserve'),
});
const attach = (process, name) =>
  codeOf(
    client.attach({
      reservationId: reservation.id,
      token: reservation.token,
      process: { pid: process },
      idempotencyKey: key(name),
    }),
  );
async function firstOf(stream) {
  for await (const message of stream) return message;
}
async function* oneSample() {
  yield { series: 'host.busy', points: [{ atMs: 1, value: 1 }] };
}
const answers = {
  attachOfAnother: await attach(Number(pid), 'another'),
  releaseOfAnother: await codeOf(client.release({ reservationId, token: Number(token) })),
  recordRun: await codeOf(
    client.recordRun({
      run: {
        ...{ id: 'r', origin: 'calibration', startedMs: 1, cpuCount: 1, source: 's', signature },
        ...{ cpuSeconds: 1, wallSeconds: 1, mediaSeconds: 1 },
      },
    }),
  ),
  train: await codeOf(firstOf(client.trainModel({ seed: 1 }))),
  promote: await codeOf(client.promoteModel({ modelId: 'baseline' })),
  rollback: await codeOf(client.rollbackModel({})),
  verifyHistory: await codeOf(client.verifyHistory({})),
  compactHistory: await codeOf(client.compactHistory({})),
  backupHistory: await codeOf(client.backupHistory({ dir: `${socket}.backup` })),
  importHistory: await codeOf(client.importHistory(oneSample())),
  getHistoryStats: await codeOf(client.getHistoryStats({})),
  attachOfOwn: await attach(process.pid, 'own'),
};
process.stdout.write(JSON.stringify(answers));
process.exit(0);
