import { createRequire } from 'node:module';
import type { Server } from '@grpc/grpc-js';
import type { HealthImplementation } from 'grpc-health-check';
import { addLateService } from './late-service.js';

export type HealthStatus = 'SERVING' | 'NOT_SERVING';

/** grpc.health.v1: one status for the daemon and each of its services. */
export class Health {
  readonly #services: readonly string[];
  #status: HealthStatus = 'NOT_SERVING';
  #implementation: HealthImplementation | undefined;

  /** `services`: full names; the daemon itself is always told of, as "". */
  constructor(services: readonly string[]) {
    this.#services = ['', ...services];
  }

  addToServer(server: Server): void {
    const method = (name: string, responseStream: boolean) => ({
      path: `/grpc.health.v1.Health/${name}`,
      requestStream: false,
      responseStream,
    });
    const methods = [method('Check', false), method('Watch', true), method('List', false)];
    addLateService(server, methods, (target) => {
      const { HealthImplementation } = require('grpc-health-check') as typeof import('grpc-health-check');
      this.#implementation = new HealthImplementation(
        Object.fromEntries(this.#services.map((name) => [name, this.#status])),
      );
      this.#implementation.addToServer(target);
    });
  }

  setStatus(status: HealthStatus): void {
    this.#status = status;
    for (const name of this.#services) this.#implementation?.setStatus(name, status);
  }
}

const require = createRequire(import.meta.url);
