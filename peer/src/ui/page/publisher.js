/**
 * What we send: camera, screen with its sound, microphone. Each is a track of its own with a number that is never used again.
 */
import { BLOCK, nowUs, pictureMessage, soundMessage } from './protocol.js';
import { OwnPictures } from './own-pictures.js';
import { keep, kept } from './kept.js';

/** @typedef {import('./protocol.js').OwnSource} OwnSource */
/** @typedef {import('./own-pictures.js').Size} Size */
/** @typedef {{tracks: Record<Size, number>, pictures: OwnPictures | null, end: () => void}} Published the smaller size has a track of its own */

export class Publisher {
  /**
   * @param {import('./connection.js').Connection} connection
   * @param {import('./sound.js').Sound} sound
   * @param {import('./settings.js').Settings} settings
   */
  constructor(connection, sound, settings) {
    this.connection = connection;
    this.sound = sound;
    this.settings = settings;
    this.next = 1;
    this.isMuted = false;
    this.silentBlocks = 0;
    this.microphonePeak = 0;
    /** @type {Map<OwnSource, Published>} */
    this.published = new Map();
    /** @type {(reason: string) => void} */
    this.onFailure = () => {};
    settings.listeners.push(() => this.published.get('camera')?.pictures?.reconfigure());
  }

  /** @param {number | undefined} next the peer's word on which numbers are used */
  begin(next) {
    this.next = Math.max(next ?? 1, Number(kept('next-track') ?? 1));
  }

  /** Sends the pictures of `track`; null ends it. @param {'camera' | 'screen'} source @param {MediaStreamTrack | null} track */
  showPictures(source, track) {
    this.end(source);
    if (!track) return;
    const tracks = { large: this.number(), smaller: this.number() };
    const pictures = new OwnPictures({
      source,
      track,
      wishes: () => this.wishes(source, track),
      onShape: (shape) => this.announce(source, tracks, shape),
      onPicture: (chunk, layer, size) => this.connection.sendBinary(pictureMessage(tracks[size], chunk, layer)),
      onFailure: (reason) => this.onFailure(reason),
      canSend: () => this.connection.isReady,
    });
    this.published.set(source, { tracks, pictures, end: () => pictures.close() });
  }

  /** @param {'camera' | 'screen'} source @param {Record<Size, number>} tracks @param {import('./encoder.js').Shape} shape */
  announce(source, { large, smaller }, shape) {
    this.connection.send({ type: 'publish', track: large, source, ...shape });
    if (source === 'camera') this.connection.send({ type: 'publish', track: smaller, source, smaller_of: large });
  }

  /** Sends the sound of `track`; null ends it. @param {'microphone' | 'screen-audio'} source @param {MediaStreamTrack | null} track */
  letHear(source, track) {
    this.end(source);
    if (!track) return;
    const number = this.number();
    this.connection.send({ type: 'publish', track: number, source });
    const stop = this.sound.capture(track, ({ samples, peak }) => {
      if (source === 'screen-audio') return this.sendSound(number, samples);
      this.microphonePeak = Math.max(this.microphonePeak, peak);
      this.sendMicrophone(number, samples);
    });
    this.published.set(source, { tracks: { large: number, smaller: number }, pictures: null, end: stop });
  }

  /** @param {OwnSource} source */
  end(source) {
    const published = this.published.get(source);
    if (!published) return;
    this.published.delete(source);
    published.end();
    this.connection.send({ type: 'unpublish', track: published.tracks.large });
  }

  /** Ends everything without telling the peer: it knows, or is gone. */
  stop() {
    for (const published of this.published.values()) published.end();
    this.published.clear();
  }

  /** @param {import('./protocol.js').EncodeOrder} order */
  obey(order) {
    this.withPictures(order.track, (pictures, size) => pictures.obey(size, order));
  }

  /** @param {number} track */
  wantKey(track) {
    this.withPictures(track, (pictures, size) => pictures.wantKey(size));
  }

  /** The loudest sample since the last call, 0 to 1. */
  takePeak() {
    const peak = this.microphonePeak;
    this.microphonePeak = 0;
    return peak;
  }

  /** @param {number} track @param {(pictures: OwnPictures, size: Size) => void} act */
  withPictures(track, act) {
    for (const { tracks, pictures } of this.published.values()) {
      if (pictures && tracks.large === track) act(pictures, 'large');
      else if (pictures && tracks.smaller === track) act(pictures, 'smaller');
    }
  }

  /** After the mute a little silence is sent, so that nothing is left hanging in the others' concealment; then nothing. @param {number} track @param {Int16Array} samples */
  sendMicrophone(track, samples) {
    if (!this.isMuted) this.silentBlocks = 0;
    else if (this.silentBlocks < SILENT_BLOCKS) this.silentBlocks += 1;
    else return;
    this.sendSound(track, this.isMuted ? new Int16Array(BLOCK) : samples);
  }

  /** @param {number} track @param {Int16Array} samples */
  sendSound(track, samples) {
    this.connection.sendBinary(soundMessage(track, samples, nowUs() - BLOCK_US));
  }

  /** @param {'camera' | 'screen'} source @param {MediaStreamTrack} track @returns {import('./own-pictures.js').PictureWishes} */
  wishes(source, track) {
    const { bitrate_kbps, keyframe_interval, codec, rate } = this.settings.wishes;
    const granted = Math.round(track.getSettings().frameRate ?? rate) || rate;
    return { bitrate_kbps, keyframe_interval, codec, rate: source === 'camera' ? granted : Math.min(granted, 30) };
  }

  number() {
    const number = this.next;
    this.next += 1;
    keep('next-track', String(this.next));
    return number;
  }
}

/** 200 ms. */
const SILENT_BLOCKS = 20;
const BLOCK_US = 10_000;
