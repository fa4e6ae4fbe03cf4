import type { handleUnaryCall, Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';

export interface LateMethod {
  /** "/package.Service/Method" */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/**
 * Serves methods whose package is loaded when somebody first calls one of them: packages that parse .proto files as they
 * are loaded, for services that few ask for, would delay every start of the daemon. `add` loads it and adds its services.
 */
export function addLateService(
  server: Server,
  methods: readonly LateMethod[],
  add: (server: Server) => void,
): void {
  let loaded: ReadonlyMap<string, Loaded> | undefined;
  const at = (path: string): Loaded => {
    loaded ??= collect(add);
    const found = loaded.get(path);
    if (found === undefined) throw new Error(`${path} is not in the package that was to serve it`);
    return found;
  };
  const definition: { [path: string]: ServiceDefinition[string] } = {};
  const implementation: UntypedServiceImplementation = {};
  for (const { path, requestStream, responseStream } of methods) {
    definition[path] = {
      path,
      requestStream,
      responseStream,
      requestSerialize: (message) => at(path).method.requestSerialize(message),
      requestDeserialize: (bytes) => at(path).method.requestDeserialize(bytes),
      responseSerialize: (message) => at(path).method.responseSerialize(message),
      responseDeserialize: (bytes) => at(path).method.responseDeserialize(bytes),
    };
    implementation[path] = (...call: Parameters<Handler>) => at(path).handler(...call);
  }
  server.addService(definition, implementation);
}

/** Of the four kinds of handler, all but this one take its first argument only. */
type Handler = handleUnaryCall<unknown, unknown>;

interface Loaded {
  readonly method: ServiceDefinition[string];
  readonly handler: Handler;
}

function collect(add: (server: Server) => void): Map<string, Loaded> {
  const found = new Map<string, Loaded>();
  const addService = (service: ServiceDefinition, implementation: UntypedServiceImplementation) => {
    for (const [name, method] of Object.entries(service)) {
      const handler = implementation[name] ?? implementation[method.originalName ?? ''];
      if (handler !== undefined) found.set(method.path, { method, handler: handler as Handler });
    }
  };
  add({ addService } as unknown as Server);
  return found;
}
