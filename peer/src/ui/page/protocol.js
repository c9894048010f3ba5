/**
 * What the page and the peer program say to each other: text messages as types, binary messages with their header.
 *
 * A binary message is sixteen bytes of header, little endian, and then a picture as WebCodecs gives it, sound as 48 kHz mono
 * samples of 16 bits, or a piece of a file. Nothing else of the page knows an offset.
 */

/** @typedef {'camera' | 'screen' | 'microphone' | 'screen-audio'} OwnSource */
/** @typedef {'direct' | 'relayed' | 'tunnelled'} Way */

/**
 * What a person asks of pictures; null: as much as the network carries, or no key frame unless one is asked for.
 * @typedef {{width: number, height: number, rate: number, bitrate_kbps: number | null, keyframe_interval: number | null}} VideoWishes
 */
/**
 * @typedef {{type: 'welcome', version: number, resume: string, name: string, room: string, invite: string,
 *   host?: boolean, video: VideoWishes, in_call: boolean, next_track?: number}} Welcome
 */
/** @typedef {{type: 'encode', track: number, bitrate_kbps: number, layers: number, rest?: boolean}} EncodeOrder */
/** @typedef {{type: 'state', peer: string, muted: boolean, camera: boolean, hand: boolean}} StateMessage */
/** @typedef {{type: 'chat', id: string | number, peer: string | null, name: string, text: string, at: number}} ChatMessage */
/**
 * What we are told of files: `file` numbers one of ours, `peer` and `id` name one of theirs.
 * @typedef {{type: 'file', news: 'offered', peer: string, id: string, name: string, size: number}
 *   | {type: 'file', news: 'withdrawn', peer: string, id: string}
 *   | {type: 'file', news: 'begun', peer: string, id: string, number: number}
 *   | {type: 'file', news: 'failed', peer: string, id: string, reason: string}
 *   | {type: 'file', news: 'read', file: number, ticket: number, offset: number, length: number}
 *   | {type: 'file', news: 'arrived', file: number, peer: string, bytes: number}
 *   | {type: 'file', news: 'stopped', file: number, peer: string, reason: string}} FileNews
 */
/**
 * @typedef {Welcome | EncodeOrder | StateMessage | ChatMessage | FileNews
 *   | {type: 'refused', message: string}
 *   | {type: 'replaced'}
 *   | {type: 'lane', lane: number, peer: string, track: number}
 *   | {type: 'key', track: number}
 *   | {type: 'levels', levels: Record<string, number>}
 *   | {type: 'failed', message: string}
 *   | {type: 'excluded', why: 'removed' | 'locked'}
 *   | {type: 'pong', t: number}
 *   | {type: 'left'}} PeerMessage
 */

/**
 * @typedef {{event: 'track', peer: string, name: string, track: number, codec: string, source: string,
 *   kind: 'audio' | 'video', width?: number, height?: number, frame_rate?: number | null}} TrackEvent
 */
/**
 * How it goes with a peer; see "JSON events" in the README for the units.
 * @typedef {{event: 'stats', peer: string, name: string, path: Way | null, sent_kbps: number, received_kbps: number, loss: number,
 *   rtt_ms: number | null, frames: number, frames_lost: number, freezes: number, freeze_ms: number, longest_gap_ms: number,
 *   latency_ms: number | null, jitter_buffer_ms: number, estimate_kbps: number, queue_ms: number, parity_share: number}} Stats
 */
/** What the host of the room has decided; silenced: our own sound goes to nobody. @typedef {{event: 'rules', muted: boolean, locked: boolean, silenced: boolean}} Rules */
/**
 * @typedef {TrackEvent | Stats
 *   | {event: 'joined', id: string, name: string, room: string}
 *   | {event: 'peer-joined', peer: string, name: string, safety_number: string, host?: boolean}
 *   | {event: 'peer-left', peer: string, name: string, reason: 'left' | 'lost' | 'removed'}
 *   | Rules
 *   | {event: 'track-ended', peer: string, track: number}
 *   | {event: 'path', peer: string, kind: Way, rtt_ms: number | null, address_family: string | null}
 *   | {event: 'rendezvous-lost', reason: string, final: boolean}
 *   | {event: 'rendezvous-back'}
 *   | {event: 'error', message: string, name?: string}} PeerEvent
 */

/**
 * What we want with files.
 * @typedef {{type: 'file', wish: 'offer', file: number, name: string, size: number}
 *   | {type: 'file', wish: 'withdraw', file: number}
 *   | {type: 'file', wish: 'fetch', peer: string, id: string}
 *   | {type: 'file', wish: 'taken', peer: string, id: string, bytes: number}
 *   | {type: 'file', wish: 'abort', peer: string, id: string}
 *   | {type: 'file', wish: 'unreadable', ticket: number, message: string}} FileWish
 */
/**
 * @typedef {FileWish | {type: 'join', name: string}
 *   | {type: 'publish', track: number, source: OwnSource, codec?: string, width?: number, height?: number, rate?: number, smaller_of?: number}
 *   | {type: 'unpublish', track: number}
 *   | {type: 'state', muted: boolean, camera: boolean, hand: boolean}
 *   | {type: 'chat', text: string}
 *   | {type: 'volume', peer: string, volume: number}
 *   | {type: 'want', peer: string, track: number, wanted: boolean}
 *   | {type: 'need-key', peer: string, track: number}
 *   | {type: 'mute-all', on: boolean}
 *   | {type: 'lock', on: boolean}
 *   | {type: 'remove', peer: string}
 *   | {type: 'ping', t: number}
 *   | {type: 'leave'}} PageMessage
 */

/** The next bytes of the file that was begun with this number. @typedef {{number: number, bytes: Uint8Array}} Piece */
/** @typedef {{lane: number, isKey: boolean, layer: number, capturedUs: number, bytes: Uint8Array}} Picture */

/** Samples in one message of sound: 10 ms. */
export const BLOCK = 480;

/**
 * The message that carries one encoded picture of our `track`.
 * @param {number} track
 * @param {EncodedVideoChunk} chunk its timestamp is the capture time
 * @param {number} layer
 */
export function pictureMessage(track, chunk, layer) {
  const message = new ArrayBuffer(HEADER + chunk.byteLength);
  const flags = (chunk.type === 'key' ? 1 : 0) | (layer << 1);
  writeHeader(message, PICTURE, flags, track, chunk.timestamp);
  chunk.copyTo(new Uint8Array(message, HEADER));
  return message;
}

/**
 * The message that carries one block of sound of our `track`.
 * @param {number} track
 * @param {Int16Array} samples
 * @param {number} capturedUs
 */
export function soundMessage(track, samples, capturedUs) {
  const message = new ArrayBuffer(HEADER + samples.byteLength);
  writeHeader(message, SOUND, 0, track, capturedUs);
  new Int16Array(message, HEADER).set(samples);
  return message;
}

/**
 * The message that carries a piece of one of our files.
 * @param {number} ticket what it was asked for with
 * @param {ArrayBuffer} bytes
 */
export function pieceMessage(ticket, bytes) {
  const message = new ArrayBuffer(HEADER + bytes.byteLength);
  writeHeader(message, PIECE, 0, 0, 0);
  new DataView(message).setUint32(4, ticket, true);
  new Uint8Array(message, HEADER).set(new Uint8Array(bytes));
  return message;
}

/**
 * What a binary message of the peer carries; null if it is of no kind we know.
 * @param {ArrayBuffer} message
 * @returns {Picture | Int16Array | Piece | null}
 */
export function readBinary(message) {
  if (message.byteLength < HEADER) return null;
  const view = new DataView(message);
  const kind = view.getUint8(0);
  if (kind === SOUND) return new Int16Array(message, HEADER, (message.byteLength - HEADER) >> 1);
  if (kind === PIECE) return { number: view.getUint32(4, true), bytes: new Uint8Array(message, HEADER) };
  if (kind !== PICTURE) return null;
  const flags = view.getUint8(1);
  return {
    isKey: (flags & 1) === 1,
    layer: (flags >> 1) & 3,
    lane: view.getUint32(4, true),
    capturedUs: Number(view.getBigUint64(8, true)),
    bytes: new Uint8Array(message, HEADER),
  };
}

/** Now, in microseconds since 1970. */
export function nowUs() {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

/**
 * @param {ArrayBuffer} message
 * @param {number} kind
 * @param {number} flags
 * @param {number} track
 * @param {number} capturedUs
 */
function writeHeader(message, kind, flags, track, capturedUs) {
  const view = new DataView(message);
  view.setUint8(0, kind);
  view.setUint8(1, flags);
  view.setUint16(2, track, true);
  view.setBigUint64(8, BigInt(Math.max(0, Math.round(capturedUs))), true);
}

const HEADER = 16;
const PICTURE = 1;
const SOUND = 2;
const PIECE = 3;
