import type { GetHostResponse__Output } from '../../rpc/generated/corecast/v1/GetHostResponse.js';
import type { Reservation__Output } from '../../rpc/generated/corecast/v1/Reservation.js';

export interface TopEvent {
  readonly atMs: number;
  readonly event: string;
  readonly channel: string;
  readonly reason: string;
}

/** Everything that one frame shows. */
export interface TopView {
  readonly nowMs: number;
  /** As last read; undefined before the first answer. */
  readonly host: GetHostResponse__Output | undefined;
  readonly reservations: readonly Reservation__Output[];
  /** Oldest first. */
  readonly events: readonly TopEvent[];
  /** Why what is shown is old; empty while the daemon answers. */
  readonly trouble: string;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}
