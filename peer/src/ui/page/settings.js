/**
 * What the person wishes of pictures, sound and the page. Begins with what the program's flags say; a reload remembers it.
 */
import { keep, kept } from './kept.js';

/**
 * @typedef {import('./protocol.js').VideoWishes & {codec: import('./codecs.js').CodecName | null, processing: boolean,
 *   mirror: boolean, shortcuts: boolean, speaker: string}} Wishes
 */

export class Settings {
  constructor() {
    /** @type {Wishes} */
    this.wishes = { ...DEFAULTS };
    /** @type {((changed: (keyof Wishes)[]) => void)[]} */
    this.listeners = [];
  }

  /** @param {import('./protocol.js').VideoWishes} flags */
  begin(flags) {
    const remembered = JSON.parse(kept('wishes') ?? '{}');
    this.wishes = { ...DEFAULTS, ...flags, ...remembered };
  }

  /** @param {Partial<Wishes>} wishes */
  change(wishes) {
    const changed = /** @type {(keyof Wishes)[]} */ (Object.keys(wishes)).filter((key) => this.wishes[key] !== wishes[key]);
    if (changed.length === 0) return;
    this.wishes = { ...this.wishes, ...wishes };
    keep('wishes', JSON.stringify({ ...JSON.parse(kept('wishes') ?? '{}'), ...wishes }));
    for (const listener of this.listeners) listener(changed);
  }

  /** @param {string} deviceId @returns {MediaTrackConstraints} */
  cameraConstraints(deviceId) {
    const { width, height, rate } = this.wishes;
    const size = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: rate } };
    return deviceId ? { ...size, deviceId: { exact: deviceId } } : size;
  }

  /** @param {string} deviceId @returns {MediaTrackConstraints} */
  microphoneConstraints(deviceId) {
    const { processing } = this.wishes;
    const sound = { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing, channelCount: 1 };
    return deviceId ? { ...sound, deviceId: { exact: deviceId } } : sound;
  }
}

/** @type {Wishes} */
const DEFAULTS = {
  width: 640,
  height: 480,
  rate: 30,
  bitrate_kbps: null,
  keyframe_interval: null,
  codec: null,
  processing: true,
  mirror: true,
  shortcuts: true,
  speaker: '',
};
