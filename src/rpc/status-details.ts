import protobuf from 'protobufjs/light.js';
import type { ErrorCode, FieldViolation } from '../lib/errors.js';
import { ERROR_CODES } from '../lib/errors.js';

/**
 * The google.rpc error model, https://google.aip.dev/193: a google.rpc.Status travels in the `grpc-status-details-bin`
 * trailer with ErrorInfo, and BadRequest or RetryInfo where they apply. protobufjs does not ship google/rpc; what is
 * needed of googleapis' google/rpc/status.proto and google/rpc/error_details.proto stands below by field number.
 */
export const DETAILS_TRAILER = 'grpc-status-details-bin';
export const ERROR_DOMAIN = 'corecast';

export interface StatusDetails {
  /** ErrorInfo.reason. */
  readonly code: ErrorCode;
  /** ErrorInfo.metadata. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly retryAfterMs?: number;
}

export function encodeStatusDetails(grpcCode: number, message: string, details: StatusDetails): Buffer {
  const parts = [
    pack('google.rpc.ErrorInfo', {
      reason: details.code,
      domain: ERROR_DOMAIN,
      metadata: details.metadata,
    }),
  ];
  if (details.violations !== undefined && details.violations.length > 0) {
    parts.push(pack('google.rpc.BadRequest', { fieldViolations: details.violations }));
  }
  if (details.retryAfterMs !== undefined && details.retryAfterMs > 0) {
    const seconds = Math.floor(details.retryAfterMs / 1000);
    const nanos = Math.round((details.retryAfterMs - seconds * 1000) * 1e6);
    parts.push(pack('google.rpc.RetryInfo', { retryDelay: { seconds, nanos } }));
  }
  return Buffer.from(encode('google.rpc.Status', { code: grpcCode, message, details: parts }));
}

/** Undefined when the bytes are not ours: another domain, an unknown reason, or no google.rpc.Status at all. */
export function decodeStatusDetails(bytes: Uint8Array): StatusDetails | undefined {
  try {
    return unpack(bytes);
  } catch {
    return undefined;
  }
}

function unpack(bytes: Uint8Array): StatusDetails | undefined {
  const found: { -readonly [K in keyof StatusDetails]?: StatusDetails[K] } = {};
  const status = decode('google.rpc.Status', bytes) as unknown as { details: WireAny[] };
  for (const { typeUrl, value } of status.details) {
    const name = typeUrl.slice(TYPE_PREFIX.length);
    if (name === 'google.rpc.ErrorInfo') {
      const info = decode(name, value) as { reason: string; domain: string; metadata: object };
      const code = ERROR_CODES.find((known) => known === info.reason);
      if (info.domain !== ERROR_DOMAIN || code === undefined) return undefined;
      found.code = code;
      found.metadata = { ...(info.metadata as Record<string, string>) };
    } else if (name === 'google.rpc.BadRequest') {
      const bad = decode(name, value) as unknown as { fieldViolations: FieldViolation[] };
      found.violations = bad.fieldViolations.map(({ field, description }) => ({ field, description }));
    } else if (name === 'google.rpc.RetryInfo') {
      const { retryDelay } = decode(name, value) as { retryDelay: { seconds: number; nanos: number } };
      found.retryAfterMs = retryDelay.seconds * 1000 + retryDelay.nanos / 1e6;
    }
  }
  return found.code === undefined ? undefined : (found as StatusDetails);
}

interface WireAny {
  typeUrl: string;
  value: Uint8Array;
}

const TYPE_PREFIX = 'type.googleapis.com/';

function pack(type: string, message: Record<string, unknown>): WireAny {
  return { typeUrl: TYPE_PREFIX + type, value: encode(type, message) };
}

function encode(type: string, message: Record<string, unknown>): Uint8Array {
  const schema = root.lookupType(type);
  return schema.encode(schema.fromObject(message)).finish();
}

function decode(type: string, bytes: Uint8Array): Record<string, unknown> {
  const schema = root.lookupType(type);
  return schema.toObject(schema.decode(bytes), { longs: Number, defaults: true });
}

const field = (type: string, id: number) => ({ type, id });

const root = protobuf.Root.fromJSON({
  nested: {
    'google.protobuf': {
      nested: {
        Any: { fields: { typeUrl: field('string', 1), value: field('bytes', 2) } },
        Duration: { fields: { seconds: field('int64', 1), nanos: field('int32', 2) } },
      },
    },
    'google.rpc': {
      nested: {
        Status: {
          fields: {
            code: field('int32', 1),
            message: field('string', 2),
            details: { rule: 'repeated', ...field('google.protobuf.Any', 3) },
          },
        },
        ErrorInfo: {
          fields: {
            reason: field('string', 1),
            domain: field('string', 2),
            metadata: { keyType: 'string', ...field('string', 3) } as protobuf.IField,
          },
        },
        RetryInfo: { fields: { retryDelay: field('google.protobuf.Duration', 1) } },
        BadRequest: {
          fields: { fieldViolations: { rule: 'repeated', ...field('FieldViolation', 1) } },
          nested: {
            FieldViolation: { fields: { field: field('string', 1), description: field('string', 2) } },
          },
        },
      },
    },
  },
});
