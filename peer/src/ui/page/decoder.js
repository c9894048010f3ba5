/**
 * One lane of pictures: encoded in, drawn onto a canvas.
 *
 * Decoding begins with a key frame. After an error, or when the page cannot keep up, the last picture stays, a key frame is
 * asked for, and everything until it comes is dropped. Of several decoded pictures between two repaints the newest is drawn.
 */

export class Decoder {
  /**
   * @param {string} codec
   * @param {() => void} needKey
   */
  constructor(codec, needKey) {
    this.codec = codec;
    this.needKey = needKey;
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    this.isWaitingForKey = true;
    this.askedAt = 0;
    /** @type {HTMLCanvasElement | null} */
    this.canvas = null;
    /** @type {VideoFrame | null} */
    this.pending = null;
    this.isPaintDue = false;
    /** @type {() => void} called when a picture of another size, or the first, was drawn */
    this.onShape = () => {};
  }

  /** @param {import('./protocol.js').Picture} picture */
  decode(picture) {
    if (!('VideoDecoder' in window)) return;
    if (this.decoder && this.decoder.decodeQueueSize > MOST_QUEUED) this.isWaitingForKey = true;
    if (this.isWaitingForKey && !picture.isKey) return this.askForKey();
    this.isWaitingForKey = false;
    try {
      this.decoder ??= this.open();
      const type = picture.isKey ? 'key' : 'delta';
      this.decoder.decode(new EncodedVideoChunk({ type, timestamp: picture.capturedUs, data: picture.bytes }));
    } catch (error) {
      this.broke();
    }
  }

  /** The next picture must be a key frame: some were not sent. */
  pause() {
    this.isWaitingForKey = true;
  }

  close() {
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close();
    this.decoder = null;
    this.pending?.close();
    this.pending = null;
    this.canvas = null;
  }

  open() {
    const decoder = new VideoDecoder({
      output: (frame) => this.decoded(frame),
      error: () => decoder === this.decoder && this.broke(),
    });
    decoder.configure({ codec: this.codec, optimizeForLatency: true });
    return decoder;
  }

  broke() {
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close();
    this.decoder = null;
    this.isWaitingForKey = true;
    this.askForKey();
  }

  askForKey() {
    const now = performance.now();
    if (now - this.askedAt < ASK_AGAIN_MS) return;
    this.askedAt = now;
    this.needKey();
  }

  /** @param {VideoFrame} frame */
  decoded(frame) {
    this.pending?.close();
    this.pending = frame;
    if (this.isPaintDue) return;
    this.isPaintDue = true;
    requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.isPaintDue = false;
    const frame = this.pending;
    this.pending = null;
    if (!frame) return;
    const { canvas } = this;
    if (canvas) {
      const isOther = canvas.width !== frame.displayWidth || canvas.height !== frame.displayHeight;
      if (isOther) {
        canvas.width = frame.displayWidth;
        canvas.height = frame.displayHeight;
      }
      canvas.getContext('2d', { alpha: false })?.drawImage(frame, 0, 0);
      if (isOther || canvas.hidden) this.onShape();
    }
    frame.close();
  }
}

/** Pictures that may wait to be decoded: half a second. */
const MOST_QUEUED = 15;
/** A key frame is asked for again if none came in this time, milliseconds. */
const ASK_AGAIN_MS = 500;
