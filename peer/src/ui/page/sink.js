/**
 * Where a file goes as it comes: onto the disk piece by piece where a page may write to a file that the person chose, otherwise
 * into the browser's memory and from there to the downloads.
 */
import { make } from './dom.js';

/**
 * @typedef {object} Sink
 * @property {(piece: Uint8Array) => Promise<void>} write resolves when there is room for more
 * @property {() => Promise<void>} close the file is whole
 * @property {() => Promise<void>} abort nothing of it stays
 */

/**
 * Asks where the file shall go; null if the person thought better of it. Must be called from a click.
 * @param {string} name @param {number} size @returns {Promise<Sink | null>}
 */
export async function openSink(name, size) {
  if (!('showSaveFilePicker' in window)) {
    if (size > MOST_IN_MEMORY) throw new RangeError('too large for memory');
    return new Memory(name);
  }
  try {
    /** @type {FileSystemFileHandle} */
    const handle = await /** @type {any} */ (window).showSaveFilePicker({ suggestedName: name });
    return new Disk(await handle.createWritable());
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return null;
    throw error;
  }
}

/** The browser writes beside the file, and puts it in its place when it is whole. @implements {Sink} */
class Disk {
  /** @param {FileSystemWritableFileStream} stream */
  constructor(stream) {
    this.stream = stream;
  }

  /** @param {Uint8Array} piece */
  write(piece) {
    return this.stream.write(/** @type {Uint8Array<ArrayBuffer>} */ (piece));
  }

  close() {
    return this.stream.close();
  }

  abort() {
    return this.stream.abort();
  }
}

/** @implements {Sink} */
class Memory {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.whole = new Blob();
    /** @type {BlobPart[]} */
    this.pieces = [];
    this.waiting = 0;
  }

  /** @param {Uint8Array} piece */
  async write(piece) {
    this.pieces.push(/** @type {BlobPart} */ (piece));
    this.waiting += piece.length;
    if (this.waiting >= GATHERED) this.gather();
  }

  async close() {
    this.gather();
    const address = URL.createObjectURL(this.whole);
    const link = make('a', { attributes: { href: address, download: this.name } });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), TAKEN_MS);
  }

  async abort() {
    this.whole = new Blob();
    this.pieces = [];
  }

  /** What is in a blob the browser may put where it has room. */
  gather() {
    this.whole = new Blob([this.whole, ...this.pieces], { type: 'application/octet-stream' });
    this.pieces = [];
    this.waiting = 0;
  }
}

/** Bytes of the largest file that is taken into memory. */
export const MOST_IN_MEMORY = 1_000_000_000;
/** Bytes that wait before they become a part of the blob. */
const GATHERED = 8_000_000;
/** By then a browser has taken what it is to save. */
const TAKEN_MS = 60_000;
