import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { HistoryServiceDefinition } from './generated/corecast/v1/HistoryService.js';
import type { HostServiceDefinition } from './generated/corecast/v1/HostService.js';
import type { ModelServiceDefinition } from './generated/corecast/v1/ModelService.js';
import type { ReservationServiceDefinition } from './generated/corecast/v1/ReservationService.js';

/** The services as grpc-js wants them. Every requestDeserialize answers bytes that are no such message with MALFORMED. */
export interface Services {
  readonly reservation: ReservationServiceDefinition;
  readonly host: HostServiceDefinition;
  readonly history: HistoryServiceDefinition;
  readonly model: ModelServiceDefinition;
}

/**
 * Stands in for a request that could not be decoded. grpc-js itself would answer INTERNAL, which blames the daemon for
 * what the caller sent.
 */
export const MALFORMED = Symbol('malformed request');

export const SERVICE_NAMES = [
  'corecast.v1.ReservationService',
  'corecast.v1.HostService',
  'corecast.v1.HistoryService',
  'corecast.v1.ModelService',
] as const;

export function loadServices(): Services {
  const definition = loadSync(
    ['reservation', 'host', 'history', 'model'].map((file) => `corecast/v1/${file}.proto`),
    // The same options as proto-loader-gen-types in package.json; the generated types say what these make.
    { longs: Number, enums: String, defaults: true, oneofs: true, includeDirs: [protoRoot()] },
  );
  const [reservation, host, history, model] = SERVICE_NAMES.map((name) =>
    tolerant(definition[name] as unknown as ServiceDefinition),
  );
  return { reservation, host, history, model } as unknown as Services;
}

/** <root>/proto, seen from src/rpc as well as from dist/rpc. */
export function protoRoot(): string {
  const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'proto');
  if (!existsSync(root)) throw new Error(`the .proto files are missing: ${root} does not exist`);
  return root;
}

function tolerant(service: ServiceDefinition): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      { ...method, requestDeserialize: decode(method) },
    ]),
  );
}

function decode(method: MethodDefinition<unknown, unknown>) {
  return (bytes: Buffer): unknown => {
    try {
      return method.requestDeserialize(bytes);
    } catch {
      return MALFORMED;
    }
  };
}
