import { credentials, makeGenericClientConstructor, type ServiceError } from '@grpc/grpc-js';

interface RawClient {
  Reserve(bytes: Buffer, done: (error: ServiceError | null, answer?: Buffer) => void): void;
  close(): void;
}

/** Sends these bytes as a ReserveRequest: what no client's own codec would write. Resolves with how it was refused. */
export function rawReserve(socket: string, bytes: Buffer): Promise<ServiceError> {
  const asIs = (value: Buffer) => value;
  const method = {
    path: '/corecast.v1.ReservationService/Reserve',
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  const Raw = makeGenericClientConstructor({ Reserve: method }, 'raw');
  const client = new Raw(`unix:${socket}`, credentials.createInsecure()) as unknown as RawClient;
  return new Promise((resolve, reject) => {
    client.Reserve(bytes, (error) => {
      client.close();
      if (error === null) reject(new Error('it was taken'));
      else resolve(error);
    });
  });
}
