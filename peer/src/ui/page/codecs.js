/**
 * Which codec a picture track is encoded with.
 *
 * H.264 comes first, because every peer decodes it, also those without a browser; what else follows in the order in which it
 * was measured to be fast. Two temporal layers where the encoder has them.
 */

/** @typedef {'h264' | 'vp9' | 'av1' | 'vp8'} CodecName */

/** @type {CodecName[]} */
export const CODECS = ['h264', 'vp9', 'av1', 'vp8'];

/** All codecs, the preferred one first. @param {CodecName | null} preferred @returns {CodecName[]} */
export const inOrder = (preferred) => [...CODECS].sort((a, b) => Number(b === preferred) - Number(a === preferred));

/** The codec of a configuration; none without one. @param {VideoEncoderConfig | null} config @returns {CodecName[]} */
export function codecNameOf(config) {
  const prefix = config?.codec.slice(0, 3);
  return CODECS.filter((name) => codecString(name, 16, 16, 1).slice(0, 3) === prefix);
}

/**
 * The first configuration this browser can encode; null if there is none.
 * @param {{width: number, height: number, rate: number, bitrate: number, codecs: CodecName[], layers: number}} wish
 * @returns {Promise<VideoEncoderConfig | null>}
 */
export async function chooseCodec({ width, height, rate, bitrate, codecs, layers }) {
  if (!('VideoEncoder' in window)) return null;
  for (const name of codecs) {
    for (const scalabilityMode of layers > 1 ? ['L1T2', undefined] : [undefined]) {
      /** @type {VideoEncoderConfig} */
      const config = {
        codec: codecString(name, width, height, rate),
        width,
        height,
        bitrate,
        framerate: rate,
        latencyMode: 'realtime',
        ...(scalabilityMode && { scalabilityMode }),
        ...(name === 'h264' && { avc: { format: 'annexb' } }),
      };
      const { supported } = await VideoEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
      if (supported) return config;
    }
  }
  return null;
}

/**
 * The WebCodecs name with the least level that holds this size and rate.
 * @param {CodecName} name
 * @param {number} width
 * @param {number} height
 * @param {number} rate
 */
export function codecString(name, width, height, rate) {
  const blocks = Math.ceil(width / 16) * Math.ceil(height / 16);
  const level = LEVELS.find((it) => blocks <= it.blocks && blocks * rate <= it.blocksPerSecond) ?? LEVELS[LEVELS.length - 1];
  if (!level) throw new Error('the table of levels is not empty');
  switch (name) {
    case 'h264':
      return `avc1.42e0${level.h264}`;
    case 'vp9':
      return `vp09.00.${level.vp9}.08`;
    case 'av1':
      return `av01.0.${level.av1}M.08`;
    case 'vp8':
      return 'vp8';
  }
}

/** Macroblocks a picture and a second (H.264 table A-1), and the levels of the others that hold as much. */
const LEVELS = [
  { blocks: 1620, blocksPerSecond: 40_500, h264: '1e', vp9: '30', av1: '04' },
  { blocks: 3600, blocksPerSecond: 108_000, h264: '1f', vp9: '31', av1: '05' },
  { blocks: 5120, blocksPerSecond: 216_000, h264: '20', vp9: '40', av1: '08' },
  { blocks: 8192, blocksPerSecond: 245_760, h264: '28', vp9: '40', av1: '08' },
  { blocks: 8704, blocksPerSecond: 522_240, h264: '2a', vp9: '41', av1: '09' },
  { blocks: 36_864, blocksPerSecond: 983_040, h264: '33', vp9: '51', av1: '13' },
  { blocks: 36_864, blocksPerSecond: 2_073_600, h264: '34', vp9: '52', av1: '14' },
];
