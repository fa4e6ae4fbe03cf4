import { takeInheritedSocket } from '../../src/rpc/unix-socket.js';
import { rpcServer } from './rpc-server.js';

/** Serves on the socket that systemd passed to this process until SIGTERM, then says what it saw. */
export async function serveInherited(): Promise<void> {
  const inheritedFd = takeInheritedSocket(process.env, process.pid);
  const rpc = await rpcServer(inheritedFd === undefined ? {} : { inheritedFd });
  const alive = setInterval(() => {}, 1_000);
  process.once('SIGTERM', async () => {
    clearInterval(alive);
    await rpc.stop();
    const uids = rpc.control.peers.map((peer) => peer.uid);
    const left = Object.keys(process.env).filter((name) => name.startsWith('LISTEN_'));
    console.log(JSON.stringify({ addresses: rpc.server.addresses, uids, left }));
  });
}
