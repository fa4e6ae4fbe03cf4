import type { ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs/light.js';
import { FlatWriter } from './flat-writer.js';
import type { HistoryServiceDefinition } from './generated/corecast/v1/HistoryService.js';
import type { HostServiceDefinition } from './generated/corecast/v1/HostService.js';
import type { ModelServiceDefinition } from './generated/corecast/v1/ModelService.js';
import type { ReservationServiceDefinition } from './generated/corecast/v1/ReservationService.js';
import { descriptor } from './generated/descriptor.js';

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
  const [reservation, host, history, model] = SERVICE_NAMES.map((name) => tolerant(serviceDefinition(name)));
  return { reservation, host, history, model } as unknown as Services;
}

/**
 * One service of corecast.v1 for a client or a server of grpc-js. The codec is protobufjs' own and its schema was parsed
 * when corecast was built; @grpc/proto-loader would parse the .proto files at each start (bench: start, wrapper).
 */
export function serviceDefinition(name: string): ServiceDefinition {
  const made = definitions.get(name);
  if (made !== undefined) return made;
  const methods: { [name: string]: ServiceDefinition[string] } = {};
  for (const { method, request, response } of methodsOf(name)) {
    methods[method.name] = {
      path: `/${name}/${method.name}`,
      requestStream: method.requestStream ?? false,
      responseStream: method.responseStream ?? false,
      requestSerialize: writer(request),
      requestDeserialize: reader(request),
      responseSerialize: writer(response),
      responseDeserialize: reader(response),
      originalName: method.name.charAt(0).toLowerCase() + method.name.slice(1),
    };
  }
  definitions.set(name, methods);
  return methods;
}

/**
 * Runs one method's codec over messages with every part present. protobufjs compiles each type when it first meets it,
 * which takes longer than the call itself; who has to wait for something else anyway does this meanwhile.
 */
export function warmCodec(service: string, name: string): void {
  const definition = serviceDefinition(service)[name];
  const found = methodsOf(service).find(({ method }) => method.name === name);
  if (definition === undefined || found === undefined) return;
  definition.requestDeserialize(definition.requestSerialize(complete(found.request)));
  definition.responseDeserialize(definition.responseSerialize(complete(found.response)));
}

function complete(type: protobuf.Type): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    if (!(field.resolvedType instanceof protobuf.Type)) continue;
    const part = complete(field.resolvedType);
    message[field.name] = field.repeated ? [part] : part;
  }
  return message;
}

function tolerant(service: ServiceDefinition): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => {
      const requestDeserialize = (bytes: Buffer): unknown => {
        try {
          return method.requestDeserialize(bytes);
        } catch {
          return MALFORMED;
        }
      };
      return [name, { ...method, requestDeserialize }];
    }),
  );
}

/** What proto-loader-gen-types was told in package.json; the generated types say what these make. */
const READ = { longs: Number, enums: String, defaults: true, oneofs: true } as const;

function writer(type: protobuf.Type) {
  return (message: object) => {
    type.encode(type.fromObject(message), flat.reset());
    return flat.finish();
  };
}

function reader(type: protobuf.Type) {
  return (bytes: Uint8Array) => type.toObject(type.decode(bytes), READ);
}

function methodsOf(service: string) {
  schema ??= protobuf.Root.fromJSON(descriptor).resolveAll();
  const found = schema.lookupService(service);
  return found.methodsArray.map((method) => ({
    method,
    request: found.lookupType(method.requestType),
    response: found.lookupType(method.responseType),
  }));
}

const flat = new FlatWriter();
const definitions = new Map<string, ServiceDefinition>();
let schema: protobuf.NamespaceBase | undefined;
