/** What is known of a channel before it runs. Mirrors corecast.v1.Signature; ranges stand there and in rpc/validate.ts. */
export interface Signature {
  readonly input: VideoInput;
  readonly outputs: readonly VideoOutput[];
  readonly complexity: Complexity;
  /** The operator's word for what kind of picture it is ("sports", "news"); absent: not told. */
  readonly content?: string;
}

export interface VideoInput {
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** 0 when the container does not say. */
  readonly bitrateBps: number;
  readonly bitDepth: number;
}

export interface VideoOutput {
  /** FFmpeg's encoder name: libx264, libx265, libsvtav1, ... */
  readonly encoder: string;
  /** Empty for the encoder's default. */
  readonly preset: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly rate: { readonly bitrateBps: number } | { readonly crf: number };
  readonly bitDepth: number;
  /** Cost-changing encoder options by the encoder's own names ("ref", "subme", "tune"). */
  readonly options: Readonly<Record<string, string>>;
}

/** Absent fields were not measured. */
export interface Complexity {
  readonly bitsPerPixel?: number;
  readonly packetSizeVariation?: number;
  readonly keyframeRatio?: number;
  readonly spatial?: number;
  readonly temporal?: number;
  readonly probeCpuSecondsPerFrame?: number;
}
