/**
 * The floor of an RPC: a bare grpc-js server on a unix socket that answers every Reserve with one and the same message,
 * which it is given as JSON. The same proto, the same sizes, the same options of grpc-js as the daemon; nothing is done.
 *
 *   node bench/reserve/echo-server.mjs SOCKET ANSWER.json
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Server, ServerCredentials } from '@grpc/grpc-js';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { loadServices } = await import(`${dist}/rpc/proto.js`);

const [socket, file] = process.argv.slice(2);
const answer = JSON.parse(readFileSync(file, 'utf8'));
const server = new Server({ 'grpc.enable_channelz': 0 });
server.addService(loadServices().reservation, { Reserve: (_call, callback) => callback(null, answer) });
server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
process.once('SIGTERM', () => server.forceShutdown());
