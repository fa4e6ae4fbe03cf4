/**
 * Input codecs by FFmpeg's names, each with the entry of the cost table that its decoder is nearest to. "none" costs
 * only the copy of the picture.
 */
const DECODE_ENTRY: Readonly<Record<string, string>> = {
  ...same(
    'h264',
    'hevc',
    'av1',
    'vp9',
    'vp8',
    'mpeg2video',
    'mpeg4',
    'mpeg1video',
    'mjpeg',
    'prores',
    'dnxhd',
    'ffv1',
  ),
  ...same('theora', 'wmv2'),
  ...like('av1', 'libdav1d', 'libaom-av1', 'av2'),
  ...like('hevc', 'vvc', 'evc'),
  ...like(
    'h264',
    'cavs',
    'avs2',
    'avs3',
    'rv30',
    'rv40',
    'vc1',
    'wmv3',
    'svq3',
    'h264_mvc',
    'vc1image',
    'wmv3image',
  ),
  ...like('vp9', 'libvpx-vp9'),
  ...like('vp8', 'libvpx', 'vp3', 'vp4', 'vp5', 'vp6', 'vp6a', 'vp6f', 'vp7'),
  ...like('mpeg2video', 'mpegvideo', 'dvvideo', 'ipu'),
  ...like(
    'mpeg4',
    'msmpeg4v1',
    'msmpeg4v2',
    'msmpeg4v3',
    'msmpeg4',
    'flv1',
    'flv',
    'h261',
    'h263',
    'h263i',
    'h263p',
  ),
  ...like('wmv2', 'wmv1', 'svq1', 'rv10', 'rv20', 'indeo3', 'indeo5', 'cinepak'),
  ...like(
    'mjpeg',
    'mjpegb',
    'ljpeg',
    'jpegls',
    'amv',
    'speedhq',
    'sp5x',
    'smvjpeg',
    'bmp',
    'gif',
    'qtrle',
    'msrle',
    'webp',
  ),
  ...like('dnxhd', 'cfhd', 'hap', 'dxv', 'hqx', 'notchlc', 'pixlet', 'aic'),
  ...like(
    'ffv1',
    'huffyuv',
    'ffvhuff',
    'utvideo',
    'magicyuv',
    'jpeg2000',
    'jpegxl',
    'png',
    'apng',
    'tiff',
    'exr',
    'dpx',
  ),
  ...like(
    'ffv1',
    'dirac',
    'vc2',
    'snow',
    'flashsv',
    'flashsv2',
    'lagarith',
    'zlib',
    'zmbv',
    'qoi',
    'vmnc',
    'tscc',
  ),
  ...like(
    'none',
    'rawvideo',
    'wrapped_avframe',
    'v210',
    'v210x',
    'v308',
    'v408',
    'v410',
    'r10k',
    'r210',
    'yuv4',
    'y41p',
  ),
  ...like('none', 'bitpacked', 'avui', 'ayuv', 'ppm', 'pgm', 'pam', 'pgmyuv', 'xwd', 'targa', 'sgi'),
};

export const INPUT_CODECS: readonly string[] = Object.keys(DECODE_ENTRY).sort();

export function isInputCodec(codec: string): boolean {
  return Object.hasOwn(DECODE_ENTRY, codec);
}

/** The cost table's decoder entry; "h264" for a codec that is not known. */
export function decodeEntry(codec: string): string {
  return isInputCodec(codec) ? DECODE_ENTRY[codec]! : 'h264';
}

function same(...codecs: string[]): Record<string, string> {
  return Object.fromEntries(codecs.map((codec) => [codec, codec]));
}

function like(entry: string, ...codecs: string[]): Record<string, string> {
  return Object.fromEntries(codecs.map((codec) => [codec, entry]));
}
