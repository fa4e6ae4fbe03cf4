import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { fileDescriptorSet } from './generated/reflection.js';

/**
 * grpc.reflection.v1 and v1alpha over the descriptors that buf made (scripts/build-descriptor.mjs). ReflectionService
 * reads nothing of a package definition but its files' descriptors.
 */
export function reflectionService(): ReflectionService {
  const { file } = descriptor.FileDescriptorSet.decode(fileDescriptorSet) as unknown as { file: object[] };
  const fileDescriptorProtos = file.map((one) =>
    Buffer.from(descriptor.FileDescriptorProto.encode(one).finish()),
  );
  return new ReflectionService({ files: { fileDescriptorProtos } } as unknown as PackageDefinition);
}
