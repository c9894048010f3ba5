/**
 * Who is in the call and what they show: what the peer told us, in one place. Draws nothing.
 */
import { Decoder } from './decoder.js';

/** @typedef {import('./protocol.js').Stats} Stats */
/** @typedef {{info: import('./protocol.js').TrackEvent, decoder: Decoder | null, isWanted: boolean}} Track */
/**
 * @typedef {object} Person
 * @property {string} id
 * @property {string} name
 * @property {string} safety
 * @property {import('./protocol.js').Way | null} way
 * @property {number | null} rtt
 * @property {Map<number, Track>} tracks
 * @property {boolean} isHost
 * @property {boolean} muted
 * @property {boolean} hand
 * @property {number} volume
 * @property {number} spokeAt
 * @property {Stats[]} history the last minute, oldest first
 */

export class Room {
  /** @param {(peer: string, track: number) => void} needKey */
  constructor(needKey) {
    this.needKey = needKey;
    /** Ourselves. */
    this.me = { id: '', name: '', isHost: false, muted: false, camera: false, hand: false };
    /** What the host of the room wants. */
    this.rules = { muted: false, locked: false, silenced: false };
    /** @type {Map<string, Person>} in the order they came */
    this.people = new Map();
    /** @type {Map<number, {peer: string, track: number}>} */
    this.lanes = new Map();
  }

  /** Forgets everybody: the peer tells it all again. */
  clear() {
    for (const id of [...this.people.keys()]) this.leave(id);
    this.lanes.clear();
    this.rules = { muted: false, locked: false, silenced: false };
  }

  /** @param {string} id @param {string} name @param {string} safety @param {boolean} isHost */
  enter(id, name, safety, isHost) {
    const known = this.people.get(id);
    if (known) return void Object.assign(known, { name, safety, isHost });
    this.people.set(id, {
      id,
      name,
      safety,
      isHost,
      way: null,
      rtt: null,
      tracks: new Map(),
      muted: false,
      hand: false,
      volume: 1,
      spokeAt: -Infinity,
      history: [],
    });
  }

  /** @param {string} id */
  leave(id) {
    const person = this.people.get(id);
    for (const track of person?.tracks.keys() ?? []) this.endTrack(id, track);
    this.people.delete(id);
  }

  /** @param {import('./protocol.js').TrackEvent} info @returns {boolean} whether the track is new */
  track(info) {
    const person = this.people.get(info.peer);
    if (!person) return false;
    const known = person.tracks.get(info.track);
    if (known && known.info.codec === info.codec) {
      known.info = info;
      return false;
    }
    known?.decoder?.close();
    const isPictures = info.kind === 'video';
    const decoder = isPictures ? new Decoder(info.codec, () => this.needKey(info.peer, info.track)) : null;
    person.tracks.set(info.track, { info, decoder, isWanted: known?.isWanted ?? true });
    return !known;
  }

  /** @param {string} id @param {number} number */
  endTrack(id, number) {
    const tracks = this.people.get(id)?.tracks;
    tracks?.get(number)?.decoder?.close();
    tracks?.delete(number);
    for (const [lane, what] of this.lanes) if (what.peer === id && what.track === number) this.lanes.delete(lane);
  }

  /** @param {import('./protocol.js').Picture} picture */
  picture(picture) {
    const what = this.lanes.get(picture.lane);
    const track = what && this.people.get(what.peer)?.tracks.get(what.track);
    if (track?.isWanted) track.decoder?.decode(picture);
  }

  /** @param {Stats} stats */
  stats(stats) {
    const person = this.people.get(stats.peer);
    if (!person) return;
    person.history.push(stats);
    if (person.history.length > HISTORY) person.history.shift();
    person.rtt = stats.rtt_ms;
    if (stats.path) person.way = stats.path;
  }

  /**
   * The newest picture track of a person: of the screen, or of the camera and everything else that is looked at like one.
   * @param {Person} person @param {'camera' | 'screen'} what
   */
  static pictures(person, what) {
    return [...person.tracks.values()]
      .filter((it) => it.info.kind === 'video' && (it.info.source === 'screen') === (what === 'screen'))
      .pop();
  }

  /** Whether they have a track of sound that nobody has muted. @param {Person} person */
  isHeard(person) {
    if (this.rules.muted && !person.isHost) return false;
    const hasSound = [...person.tracks.values()].some((it) => it.info.kind === 'audio' && it.info.source !== 'screen-audio');
    return hasSound && !person.muted;
  }
}

/** Seconds of figures that are kept. */
const HISTORY = 60;
