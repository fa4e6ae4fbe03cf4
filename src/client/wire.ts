import { makeGenericClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs/light.js';
import { descriptor } from '../rpc/generated/descriptor.js';

/** What proto-loader-gen-types was told in package.json; the generated types say what these make. */
const READ = { longs: Number, enums: String, defaults: true, oneofs: true } as const;

/**
 * grpc-js' client class of one service of corecast.v1. The codec is protobufjs' own; @grpc/proto-loader would parse the
 * .proto files each time a wrapper starts (bench: connect).
 */
export function clientConstructor(service: string) {
  return makeGenericClientConstructor(serviceDefinition(service), service);
}

/**
 * Runs one method's codec over messages with every part present. protobufjs compiles each type when it first meets it,
 * which takes longer than the call itself; a caller that has to wait for something else anyway does this meanwhile.
 */
export function warmCodec(service: string, method: string): void {
  const definition = serviceDefinition(service)[method];
  const found = schema().lookupService(service).methods[method];
  if (definition === undefined || found === undefined) return;
  definition.requestSerialize(complete(found.resolvedRequestType));
  definition.responseDeserialize(definition.responseSerialize(complete(found.resolvedResponseType)));
}

function complete(type: protobuf.Type | null): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const field of type?.fieldsArray ?? []) {
    if (!(field.resolvedType instanceof protobuf.Type)) continue;
    const part = complete(field.resolvedType);
    message[field.name] = field.repeated ? [part] : part;
  }
  return message;
}

function serviceDefinition(name: string): ServiceDefinition {
  const made = definitions.get(name);
  if (made !== undefined) return made;
  const service = schema().lookupService(name);
  const methods: { [name: string]: ServiceDefinition[string] } = {};
  for (const method of service.methodsArray) {
    const request = service.lookupType(method.requestType);
    const response = service.lookupType(method.responseType);
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

function writer(type: protobuf.Type) {
  return (message: object) => Buffer.from(type.encode(type.fromObject(message)).finish());
}

function reader(type: protobuf.Type) {
  return (bytes: Uint8Array) => type.toObject(type.decode(bytes), READ);
}

const definitions = new Map<string, ServiceDefinition>();
let loaded: protobuf.NamespaceBase | undefined;

function schema(): protobuf.NamespaceBase {
  loaded ??= protobuf.Root.fromJSON(descriptor).resolveAll();
  return loaded;
}
