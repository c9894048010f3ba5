/**
 * Frames in, encoded pictures out, as the network asks.
 *
 * A new rate goes to the running encoder without a key frame; a new size makes a new encoder, which scales the frames. A frame
 * that finds the encoder busy is dropped: what is late is of no use. The newest frame is kept, so that a key frame can be made
 * of a screen on which nothing moves.
 */
import { chooseCodec } from './codecs.js';
import { nowUs } from './protocol.js';

/**
 * @typedef {object} EncoderOptions
 * @property {() => Wishes} wishes what the person asks, read anew for each picture
 * @property {import('./steps.js').Steps} steps
 * @property {(shape: Shape) => void} onShape codec or size are new: announce them before the next picture
 * @property {(chunk: EncodedVideoChunk, layer: number) => void} onPicture
 * @property {(reason: string) => void} onFailure no codec fits, or the encoder broke for good
 * @property {() => boolean} canSend
 */
/** @typedef {{rate: number, bitrate_kbps: number | null, keyframe_interval: number | null, codecs: import('./codecs.js').CodecName[]}} Wishes */
/** @typedef {{codec: string, width: number, height: number, rate: number}} Shape */

export class Encoder {
  /** @param {EncoderOptions} options */
  constructor(options) {
    this.options = options;
    /** @type {VideoEncoder | null} */
    this.encoder = null;
    /** @type {VideoEncoderConfig | null} */
    this.config = null;
    this.isChoosing = false;
    this.isClosed = false;
    this.isKeyWanted = true;
    this.isResting = false;
    this.targetKbps = 0;
    this.layers = 2;
    this.lastKeyUs = 0;
    this.breakages = 0;
    /** When the next picture is due, while fewer are encoded than come. */
    this.dueUs = 0;
    /** @type {VideoFrame | null} */
    this.newest = null;
    /** Of the last second, for the details panel. */
    this.figures = { pictures: 0, bytes: 0, millis: 0 };
    /** @type {Map<number, number>} */
    this.startedAt = new Map();
  }

  /** Encodes `frame` now or never; closes it. @param {VideoFrame} frame */
  encode(frame) {
    if (this.isClosed) return frame.close();
    this.newest?.close();
    this.newest = frame;
    this.push();
  }

  /** Makes the next picture a key frame, of the newest frame if no other comes soon. */
  wantKey() {
    this.isKeyWanted = true;
    const waiting = this.newest;
    setTimeout(() => {
      if (this.isKeyWanted && waiting && waiting === this.newest && !this.isClosed) this.push();
    }, STILL_MS);
  }

  /** Follows the network. @param {import('./protocol.js').EncodeOrder} order */
  obey({ bitrate_kbps, layers, rest }) {
    if (this.isResting && !rest) this.isKeyWanted = true;
    this.isResting = rest ?? false;
    this.targetKbps = bitrate_kbps;
    const needsOther = (layers > 1) !== (this.layers > 1);
    this.layers = layers;
    if (needsOther) this.config = null;
    else this.retune();
  }

  /** Takes the person's wishes anew. */
  reconfigure() {
    this.config = null;
  }

  close() {
    this.isClosed = true;
    this.newest?.close();
    this.newest = null;
    if (this.encoder && this.encoder.state !== 'closed') this.encoder.close();
    this.encoder = null;
  }

  /** What was sent since the last call. */
  takeFigures() {
    const figures = this.figures;
    this.figures = { pictures: 0, bytes: 0, millis: 0 };
    return { ...figures, target: this.config?.bitrate ?? 0, config: this.config, isResting: this.isResting };
  }

  push() {
    const frame = this.newest;
    if (!frame || this.isResting) return;
    const now = nowUs();
    const shape = this.shape(frame, now);
    if (this.config?.width !== shape.width || this.config.height !== shape.height) return void this.choose(shape);
    this.retune(shape.rate);
    if (!this.isPictureDue(now) || !this.encoder || this.encoder.encodeQueueSize > MOST_QUEUED || !this.options.canSend()) return;
    const keyFrame = this.isKeyWanted || this.isKeyDue(now);
    // A frame used twice, for a key frame of a still screen, needs a time of its own.
    const fresh = now - frame.timestamp > STILL_MS * 500 ? new VideoFrame(frame, { timestamp: now }) : frame;
    this.startedAt.set(fresh.timestamp, performance.now());
    this.encoder.encode(fresh, { keyFrame });
    if (fresh !== frame) fresh.close();
    if (keyFrame) {
      this.isKeyWanted = false;
      this.lastKeyUs = now;
    }
  }

  /** What is to be made of a frame. @param {VideoFrame} frame @param {number} now */
  shape({ displayWidth: width, displayHeight: height }, now) {
    const wishes = this.options.wishes();
    const { scale, part } = this.options.steps.follow({ ...wishes, width, height }, this.bitrate(width, height), now / 1000);
    const rate = Math.max(1, Math.round(wishes.rate * part));
    if (part === 1) this.dueUs = 0;
    return { width: even(width * scale), height: even(height * scale), rate };
  }

  /** Where the source has more pictures than are wanted, evenly spread ones are taken. @param {number} now */
  isPictureDue(now) {
    const rate = this.config?.framerate ?? 0;
    if (rate >= this.options.wishes().rate || this.isKeyWanted) return true;
    const interval = 1e6 / rate;
    if (now < this.dueUs - interval / 4) return false;
    this.dueUs = Math.max(this.dueUs, now - interval) + interval;
    return true;
  }

  /** @param {number} now */
  isKeyDue(now) {
    const interval = this.options.wishes().keyframe_interval;
    return interval !== null && now - this.lastKeyUs >= interval * 1e6 - KEY_SLACK_US;
  }

  /** @param {{width: number, height: number, rate: number}} shape */
  async choose({ width, height, rate }) {
    if (this.isChoosing) return;
    this.isChoosing = true;
    const { codecs } = this.options.wishes();
    const bitrate = this.bitrate(width, height);
    const config = await chooseCodec({ width, height, rate, bitrate, codecs, layers: this.layers });
    this.isChoosing = false;
    if (this.isClosed) return;
    if (!config) {
      this.close();
      return this.options.onFailure(`${width}×${height}@${rate}`);
    }
    this.start(config);
  }

  /** @param {VideoEncoderConfig} config */
  start(config) {
    if (this.encoder && this.encoder.state !== 'closed') this.encoder.close();
    this.config = config;
    this.isKeyWanted = true;
    this.startedAt.clear();
    this.encoder = new VideoEncoder({
      output: (chunk, metadata) => this.encoded(chunk, /** @type {any} */ (metadata)?.svc?.temporalLayerId ?? 0),
      error: (error) => this.broke(error),
    });
    this.encoder.configure(config);
    const { codec, width, height, framerate } = config;
    this.options.onShape({ codec, width, height, rate: framerate ?? 30 });
    this.retune();
  }

  /** @param {EncodedVideoChunk} chunk @param {number} layer */
  encoded(chunk, layer) {
    const started = this.startedAt.get(chunk.timestamp);
    this.startedAt.delete(chunk.timestamp);
    this.figures.pictures += 1;
    this.figures.bytes += chunk.byteLength;
    if (started !== undefined) this.figures.millis += performance.now() - started;
    this.options.onPicture(chunk, layer);
  }

  /** @param {DOMException} error */
  broke(error) {
    if (this.isClosed) return;
    this.breakages += 1;
    this.config = null;
    this.encoder = null;
    if (this.breakages > MOST_BREAKAGES) {
      this.close();
      this.options.onFailure(error.message);
    }
  }

  /** Bits and pictures a second, without a key frame. @param {number | undefined} framerate */
  retune(framerate = this.config?.framerate) {
    if (!this.encoder || !this.config || this.encoder.state !== 'configured') return;
    const bitrate = this.bitrate(this.config.width, this.config.height);
    if (bitrate === this.config.bitrate && framerate === this.config.framerate) return;
    this.config = { ...this.config, bitrate, framerate };
    this.encoder.configure(this.config);
  }

  /** Bits a second: what the network carries, and not more than the person allows. @param {number} width @param {number} height */
  bitrate(width, height) {
    const most = this.options.wishes().bitrate_kbps ?? Infinity;
    const target = this.targetKbps || (width * height * START_BITS_PER_PIXEL) / 1000;
    return Math.round(Math.max(LEAST_KBPS, Math.min(most, target))) * 1000;
  }
}

/** @param {number} length */
const even = (length) => Math.max(2, Math.round(length) & ~1);

/** Frames that may wait in the encoder; more would be delay. */
const MOST_QUEUED = 2;
/** Milliseconds without a new frame after which a screen counts as still. */
const STILL_MS = 200;
/** Key frames come on the frame next to their time, not the one after. */
const KEY_SLACK_US = 10_000;
/** Before the network is known: 640×480 starts with 600 kbit/s. */
const START_BITS_PER_PIXEL = 2;
const LEAST_KBPS = 30;
const MOST_BREAKAGES = 3;
