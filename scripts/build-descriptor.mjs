#!/usr/bin/env node
// Writes what the .proto files say in the two forms that are read at run time, into src/rpc/generated:
// - descriptor.ts, protobufjs' JSON, for clients: parsing the .proto files takes several times as long, and the wrapper
//   would pay for it before every FFmpeg start;
// - reflection.ts, buf's descriptors, for the reflection service: those that protobufjs makes of parsed files lack
//   proto3_optional and misname map entries, so that buf curl and grpcurl refuse them.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const schema = new protobuf.Root();
schema.resolvePath = (_origin, target) => join(root, 'proto', target);
schema.loadSync(['reservation', 'host', 'history', 'model'].map((file) => `corecast/v1/${file}.proto`));
const json = JSON.stringify(schema.resolveAll().toJSON());
write('descriptor.ts', [
  "import type { INamespace } from 'protobufjs';",
  '',
  `export const descriptor: INamespace = JSON.parse(\n  ${JSON.stringify(json)},\n);`,
]);

// Serialised FileDescriptorSets, one after the other, are one FileDescriptorSet with the files of both.
const sets = [join(root, 'proto'), join(root, 'node_modules/grpc-health-check/proto')].map(describe);
write('reflection.ts', [
  '/** A google.protobuf.FileDescriptorSet: corecast.v1 and grpc.health.v1. */',
  `export const fileDescriptorSet = Buffer.from(\n  '${Buffer.concat(sets).toString('base64')}',\n  'base64',\n);`,
]);

function describe(folder) {
  const options = ['-o', '-#format=binpb', '--as-file-descriptor-set', '--exclude-source-info'];
  return execFileSync(join(root, 'node_modules/.bin/buf'), ['build', folder, ...options]);
}

function write(name, lines) {
  writeFileSync(join(root, 'src/rpc/generated', name), `${lines.join('\n')}\n`);
}
