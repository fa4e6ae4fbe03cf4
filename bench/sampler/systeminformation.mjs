/** What systeminformation knows of the host and its processes (it has no threads), once a second. */
import si from 'systeminformation';

const ask = () =>
  Promise.all([
    si.currentLoad(),
    si.fullLoad(),
    si.mem(),
    si.networkStats('*'),
    si.disksIO(),
    si.fsStats(),
    si.processes(),
  ]);
let asked = Promise.resolve();
setInterval(() => {
  asked = asked.then(ask);
}, 1_000);
