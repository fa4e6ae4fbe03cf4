#!/usr/bin/env node
// Writes proto/ as JSON into src/rpc/generated/descriptor.ts. Clients read that instead of the .proto files: parsing them
// takes several times as long, and the wrapper pays for it before every FFmpeg start.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';

const root = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..');
const schema = new protobuf.Root();
schema.resolvePath = (_origin, target) => join(root, 'proto', target);
schema.loadSync(['reservation', 'host', 'history', 'model'].map((file) => `corecast/v1/${file}.proto`));
const json = JSON.stringify(schema.resolveAll().toJSON());
writeFileSync(
  join(root, 'src/rpc/generated/descriptor.ts'),
  `import type { INamespace } from 'protobufjs';\n\nexport const descriptor: INamespace = JSON.parse(\n  ${JSON.stringify(json)},\n);\n`,
);
