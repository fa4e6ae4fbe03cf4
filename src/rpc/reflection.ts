import { createRequire } from 'node:module';
import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { fileDescriptorSet } from './generated/reflection.js';
import { addLateService } from './late-service.js';

const VERSIONS = ['v1', 'v1alpha'] as const;

/**
 * grpc.reflection.v1 and v1alpha over the descriptors that buf made (scripts/build-descriptor.mjs). ReflectionService
 * reads nothing of a package definition but its files' descriptors.
 */
export function addReflection(server: Server): void {
  const methods = VERSIONS.map((version) => ({
    path: `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    requestStream: true,
    responseStream: true,
  }));
  addLateService(server, methods, (target) => {
    const { ReflectionService } = require('@grpc/reflection') as typeof import('@grpc/reflection');
    const files = { fileDescriptorProtos: fileDescriptors() };
    new ReflectionService({ files } as unknown as PackageDefinition).addToServer(target);
  });
}

function fileDescriptors(): Buffer[] {
  const { FileDescriptorSet, FileDescriptorProto } =
    require('protobufjs/ext/descriptor') as typeof import('protobufjs/ext/descriptor/index.js');
  const { file } = FileDescriptorSet.decode(fileDescriptorSet) as unknown as { file: object[] };
  return file.map((one) => Buffer.from(FileDescriptorProto.encode(one).finish()));
}

const require = createRequire(import.meta.url);
