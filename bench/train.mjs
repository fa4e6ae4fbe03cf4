/**
 * One training step of the LSTM at batch 64 (forward, backward, clipping, AdamW) on one thread, in the trainer and in
 * PyTorch, in turns so that both meet the same machine; and how far onnxruntime's output is from the trainer's. Times
 * are CPU time, which neighbours change least; on an idle machine they are wall time.
 *
 *   npm run -s bench -- train [--json] [--python PATH]
 *
 * PyTorch is not a dependency: `apt-get install python3-torch` and the system's python3, or any other with --python.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { createTrainer } = await import(`${dist}/feedback/lstm-addon.js`);
const { writeOnnx } = await import(`${dist}/feedback/onnx-writer.js`);
const { STATIC_FEATURE_NAMES } = await import(`${dist}/forecast/features.js`);
const { networkShape, ONNX_INPUT_SEQUENCE, ONNX_INPUT_STATIC, ONNX_OUTPUT } = await import(
  `${dist}/forecast/network.js`
);

const BATCH = 64;
const ROUNDS = 20;
const STEPS_PER_ROUND = 50;
const PYTHONS = ['/usr/bin/python3', 'python3'];

export async function run({ python } = {}) {
  const shape = networkShape(STATIC_FEATURE_NAMES.length);
  const trainer = createTrainer(shape, 1);
  const rows = {
    sequence: normal(BATCH * shape.steps * shape.sequenceFeatures),
    fixed: normal(BATCH * shape.staticFeatures),
    target: normal(BATCH * shape.targets),
  };
  const step = () => trainer.step(rows.sequence, rows.fixed, rows.target, BATCH, 1e-3);
  const peer = await openPytorch(python === undefined ? PYTHONS : [python], shape);
  const own = [];
  const theirs = [];
  for (let round = -1; round < ROUNDS; round++) {
    const ours = cpuMs(() => {
      for (let i = 0; i < STEPS_PER_ROUND; i++) step();
    });
    const torch = await peer.steps?.(STEPS_PER_ROUND);
    if (round < 0) continue;
    own.push(ours / STEPS_PER_ROUND);
    if (torch !== undefined) theirs.push(torch / STEPS_PER_ROUND);
  }
  peer.close?.();
  const stepMs = quantile(own, 0.5);
  const pytorchMs = theirs.length === 0 ? null : quantile(theirs, 0.5);
  return {
    rows: [
      row(`trainer (${trainer.instructionSet})`, own),
      ...(pytorchMs === null ? [] : [row(`PyTorch ${peer.version}`, theirs)]),
    ],
    figures: {
      batch: BATCH,
      weights: trainer.weights().length,
      instruction_set: trainer.instructionSet,
      step_ms: stepMs,
      step_p10_ms: quantile(own, 0.1),
      pytorch_step_ms: pytorchMs,
      pytorch_step_p10_ms: theirs.length === 0 ? null : quantile(theirs, 0.1),
      ratio: pytorchMs === null ? null : pytorchMs / stepMs,
      onnx_parity_max_abs: await parity(shape),
    },
    peers: {
      pytorch: peer.version ?? null,
      ...(peer.reason === undefined ? {} : { pytorch_missing: peer.reason }),
      cpus: availableParallelism(),
    },
  };
}

/** Largest difference over random weights, inputs and batches of 1, 7 and 64. */
async function parity(shape) {
  process.env.ORT_DISABLE_TELEMETRY = '1';
  const { InferenceSession, Tensor } = createRequire(import.meta.url)('onnxruntime-node');
  let worst = 0;
  for (const seed of [1, 2, 3, 4, 5]) {
    const trainer = createTrainer(shape, seed);
    trainer.setWeights(trainer.weights().map((weight) => weight * 2));
    const session = await InferenceSession.create(writeOnnx(shape, trainer.weights(), { bench: 'train' }));
    for (const batch of [1, 7, 64]) {
      const sequence = normal(batch * shape.steps * shape.sequenceFeatures);
      const fixed = normal(batch * shape.staticFeatures);
      const expected = trainer.predict(sequence, fixed, batch);
      const outputs = await session.run({
        [ONNX_INPUT_SEQUENCE]: new Tensor('float32', sequence, [batch, shape.steps, shape.sequenceFeatures]),
        [ONNX_INPUT_STATIC]: new Tensor('float32', fixed, [batch, shape.staticFeatures]),
      });
      outputs[ONNX_OUTPUT].data.forEach((value, i) => {
        worst = Math.max(worst, Math.abs(value - expected[i]));
      });
    }
    await session.release();
  }
  return worst;
}

/** { version, steps(count) -> CPU milliseconds of all, close() }, or { reason } when no Python here has PyTorch. */
async function openPytorch(pythons, shape) {
  const reasons = [];
  for (const python of pythons) {
    const child = spawn(python, ['-c', PYTORCH, JSON.stringify({ ...shape, batch: BATCH })], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    child.stdin.on('error', () => {});
    const ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', () => resolve(said.trim().split('\n').at(-1)));
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await Promise.race([lines.next().then(({ value }) => value), ended.then(() => undefined)]);
    if (first === undefined) {
      reasons.push(`${python}: ${await ended}`);
      continue;
    }
    return {
      version: JSON.parse(first).version,
      steps: async (count) => {
        child.stdin.write(`${count}\n`);
        return Number((await lines.next()).value);
      },
      close: () => child.stdin.end(),
    };
  }
  return { reason: reasons.join('; ') };
}

/** The network of src/forecast/network.ts, as one would write it in PyTorch. */
const PYTORCH = `
import json, sys, time, torch
from torch.nn.functional import softplus
torch.set_num_threads(1)
torch.manual_seed(1)
s = json.loads(sys.argv[1])
B, K = s['batch'], s['targets']
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(s['sequenceFeatures'], s['hidden'], batch_first=True)
        self.embed = torch.nn.Sequential(
            torch.nn.Linear(s['staticFeatures'], s['embed']), torch.nn.ReLU(),
            torch.nn.Linear(s['embed'], s['embed']), torch.nn.ReLU())
        self.head = torch.nn.Sequential(
            torch.nn.Linear(s['hidden'] + s['embed'], s['head']), torch.nn.ReLU(),
            torch.nn.Linear(s['head'], 3 * K))
    def forward(self, sequence, fixed):
        _, (hidden, _) = self.lstm(sequence)
        base, d90, d99 = self.head(torch.cat([hidden[0], self.embed(fixed)], 1)).chunk(3, 1)
        q90 = base + softplus(d90)
        return torch.stack([base, q90, q90 + softplus(d99)])
network = Network()
optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
levels = torch.tensor([0.5, 0.9, 0.99]).view(3, 1, 1)
sequence = torch.randn(B, s['steps'], s['sequenceFeatures'])
fixed = torch.randn(B, s['staticFeatures'])
target = torch.randn(B, K)
known = ~torch.isnan(target)
def step():
    optimiser.zero_grad()
    miss = torch.where(known, target, torch.zeros(())) - network(sequence, fixed)
    loss = (torch.maximum(levels * miss, (levels - 1) * miss) * known).sum() / (3 * known.sum())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
print(json.dumps({'version': torch.__version__}), flush=True)
for line in iter(sys.stdin.readline, ''):
    begin = time.process_time()
    for _ in range(int(line)):
        step()
    print((time.process_time() - begin) * 1e3, flush=True)
`;

function row(what, times) {
  return {
    what,
    p10_ms: quantile(times, 0.1),
    p50_ms: quantile(times, 0.5),
    p90_ms: quantile(times, 0.9),
  };
}

function cpuMs(work) {
  const begin = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / 1000;
}

function quantile(values, level) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(level * sorted.length))];
}

/** Box and Muller over a small seeded generator: the same numbers in every run. */
let state = 1;
function uniform() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return (state + 0.5) / 2 ** 32;
}
function normal(length) {
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
