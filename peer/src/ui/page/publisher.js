/**
 * What we send: camera, screen with its sound, microphone. Each is a track of its own with a number that is never used again.
 */
import { BLOCK, nowUs, pictureMessage, soundMessage } from './protocol.js';
import { Encoder } from './encoder.js';
import { frames } from './camera.js';
import { keep, kept } from './kept.js';

/** @typedef {import('./protocol.js').OwnSource} OwnSource */
/** @typedef {{track: number, source: OwnSource, encoder: Encoder | null, end: () => void}} Published */

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
    settings.listeners.push(() => this.published.get('camera')?.encoder?.reconfigure());
  }

  /** @param {number | undefined} next the peer's word on which numbers are used */
  begin(next) {
    this.next = Math.max(next ?? 1, Number(kept('next-track') ?? 1));
  }

  /** Sends the pictures of `track`; null ends it. @param {'camera' | 'screen'} source @param {MediaStreamTrack | null} track */
  showPictures(source, track) {
    this.end(source);
    if (!track) return;
    const number = this.number();
    const encoder = new Encoder({
      wishes: () => this.wishes(source, track),
      onShape: (shape) => this.connection.send({ type: 'publish', track: number, source, ...shape }),
      onPicture: (chunk, layer) => this.connection.sendBinary(pictureMessage(number, chunk, layer)),
      onFailure: (reason) => this.onFailure(reason),
      canSend: () => this.connection.isReady,
    });
    const stop = frames(track, (frame) => encoder.encode(frame));
    this.published.set(source, { track: number, source, encoder, end: () => (stop(), encoder.close()) });
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
    this.published.set(source, { track: number, source, encoder: null, end: stop });
  }

  /** @param {OwnSource} source */
  end(source) {
    const published = this.published.get(source);
    if (!published) return;
    this.published.delete(source);
    published.end();
    this.connection.send({ type: 'unpublish', track: published.track });
  }

  /** Ends everything without telling the peer: it knows, or is gone. */
  stop() {
    for (const published of this.published.values()) published.end();
    this.published.clear();
  }

  /** @param {import('./protocol.js').EncodeOrder} order */
  obey(order) {
    this.encoderOf(order.track)?.obey(order);
  }

  /** @param {number} track */
  wantKey(track) {
    this.encoderOf(track)?.wantKey();
  }

  /** The loudest sample since the last call, 0 to 1. */
  takePeak() {
    const peak = this.microphonePeak;
    this.microphonePeak = 0;
    return peak;
  }

  /** @param {number} track */
  encoderOf(track) {
    return [...this.published.values()].find((it) => it.track === track)?.encoder ?? null;
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

  /** @param {'camera' | 'screen'} source @param {MediaStreamTrack} track @returns {import('./encoder.js').Wishes} */
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
