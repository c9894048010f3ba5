/**
 * Our camera or screen as the others get it: encoded once for all, and the camera once more in half the width and height while
 * somebody's way carries no more than that.
 */
import { frames } from './camera.js';
import { codecNameOf, inOrder } from './codecs.js';
import { Encoder } from './encoder.js';
import { CAMERA_STEPS, SCREEN_STEPS, SMALLER_STEPS, Steps } from './steps.js';

/** @typedef {{rate: number, bitrate_kbps: number | null, keyframe_interval: number | null, codec: import('./codecs.js').CodecName | null}} PictureWishes */
/**
 * @typedef {object} OwnPicturesOptions
 * @property {'camera' | 'screen'} source
 * @property {MediaStreamTrack} track
 * @property {() => PictureWishes} wishes what the person asks
 * @property {(shape: import('./encoder.js').Shape) => void} onShape
 * @property {(chunk: EncodedVideoChunk, layer: number, size: Size) => void} onPicture
 * @property {(reason: string) => void} onFailure
 * @property {() => boolean} canSend
 */
/** @typedef {'large' | 'smaller'} Size */

export class OwnPictures {
  /** @param {OwnPicturesOptions} options */
  constructor({ source, track, wishes, onShape, onPicture, onFailure, canSend }) {
    this.large = new Encoder({
      wishes: () => ({ ...wishes(), codecs: inOrder(wishes().codec) }),
      steps: new Steps(source === 'screen' ? SCREEN_STEPS : CAMERA_STEPS),
      onShape,
      onPicture: (chunk, layer) => onPicture(chunk, layer, 'large'),
      onFailure,
      canSend,
    });
    this.smaller = source === 'camera' ? this.encodeSmaller(wishes, onPicture, canSend) : null;
    this.stop = frames(track, (frame) => this.take(frame));
  }

  /** @param {Size} size @param {import('./protocol.js').EncodeOrder} order */
  obey(size, order) {
    this[size]?.obey(order);
  }

  /** @param {Size} size */
  wantKey(size) {
    this[size]?.wantKey();
  }

  reconfigure() {
    this.large.reconfigure();
    this.smaller?.reconfigure();
  }

  close() {
    this.stop();
    this.large.close();
    this.smaller?.close();
  }

  /**
   * Both sizes go to the same decoders, so they have the same codec. Who cannot encode twice has one size.
   * @param {OwnPicturesOptions['wishes']} wishes
   * @param {OwnPicturesOptions['onPicture']} onPicture
   * @param {() => boolean} canSend
   */
  encodeSmaller(wishes, onPicture, canSend) {
    const smaller = new Encoder({
      wishes: () => ({ ...wishes(), bitrate_kbps: null, codecs: codecNameOf(this.large.config) }),
      steps: new Steps(SMALLER_STEPS),
      onShape: () => {},
      onPicture: (chunk, layer) => onPicture(chunk, layer, 'smaller'),
      onFailure: () => {},
      canSend,
    });
    smaller.isResting = true;
    return smaller;
  }

  /** @param {VideoFrame} frame */
  take(frame) {
    // While the larger size chooses its codec, the smaller one has none to follow.
    if (this.smaller && !this.smaller.isResting && this.large.config) this.smaller.encode(frame.clone());
    this.large.encode(frame);
  }
}
