/**
 * The one WebSocket to the peer program on this machine.
 *
 * Opens it, says hello, and hands on what comes. A connection that breaks is opened again with the resume token; one that was
 * refused, replaced or left stays closed. Whoever opens it draws a number, under which it is opened again: by that the peer
 * knows a page that lost its place to another without hearing of it.
 */
import { readBinary } from './protocol.js';
import { keep, kept } from './kept.js';

/**
 * @typedef {object} Listener
 * @property {(message: import('./protocol.js').PeerMessage) => void} onMessage
 * @property {(event: import('./protocol.js').PeerEvent) => void} onEvent
 * @property {(picture: import('./protocol.js').Picture) => void} onPicture
 * @property {(samples: Int16Array) => void} onSound
 * @property {(piece: import('./protocol.js').Piece) => void} onPiece
 * @property {(state: 'broken' | 'gone') => void} onLost broken: it is tried again; gone: it was tried long enough
 */

export class Connection {
  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.isOver = false;
    this.failures = 0;
    this.token = location.hash.slice(1);
    this.visit = 0;
  }

  /** Opens the connection because a person wants the call in this page; another page loses it. */
  open() {
    this.isOver = false;
    this.visit = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
    this.connect();
  }

  /** Says hello with the link's token the first time and the kept one after that. */
  connect() {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    socket.onopen = () => this.hello();
    socket.onmessage = ({ data }) => (typeof data === 'string' ? this.hear(data) : this.receive(data));
    socket.onclose = () => this.closed(socket);
  }

  hello() {
    const token = this.token || kept('resume') || '';
    this.send(/** @type {any} */ ({ type: 'hello', version: 1, token, visit: this.visit }));
  }

  /** Whether media may be sent: open, and the peer keeps up. */
  get isReady() {
    return this.socket?.readyState === WebSocket.OPEN && this.socket.bufferedAmount < MOST_BUFFERED;
  }

  /** @param {import('./protocol.js').PageMessage} message */
  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** @param {ArrayBuffer} message */
  sendBinary(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(message);
  }

  /** @param {string} data */
  hear(data) {
    const message = JSON.parse(data);
    if ('event' in message) return this.listener.onEvent(message);
    if (message.type === 'welcome') this.welcomed(message.resume);
    if (message.type === 'refused' && this.token && kept('resume')) {
      // The link's token is used up, by this very tab: it has a better one.
      this.token = '';
      return;
    }
    if (LAST_WORDS.includes(message.type)) this.isOver = true;
    this.listener.onMessage(message);
  }

  /** @param {string} resume */
  welcomed(resume) {
    keep('resume', resume);
    this.token = '';
    this.failures = 0;
    history.replaceState(null, '', location.pathname);
  }

  /** @param {ArrayBuffer} data */
  receive(data) {
    const content = readBinary(data);
    if (content instanceof Int16Array) this.listener.onSound(content);
    else if (content && 'lane' in content) this.listener.onPicture(content);
    else if (content) this.listener.onPiece(content);
  }

  /** @param {WebSocket} socket */
  closed(socket) {
    if (socket !== this.socket || this.isOver) return;
    this.failures += 1;
    if (this.failures > RETRIES) return this.listener.onLost('gone');
    this.listener.onLost('broken');
    setTimeout(() => this.connect(), RETRY_MS * this.failures);
  }
}

/** After these the peer closes for good. */
const LAST_WORDS = ['refused', 'replaced', 'left', 'failed', 'excluded'];
/** Bytes that may wait in the socket before pictures are dropped: two key frames of a large screen. */
const MOST_BUFFERED = 2_000_000;
const RETRIES = 5;
/** First wait before the connection is opened again; each one is longer by as much. */
const RETRY_MS = 400;
