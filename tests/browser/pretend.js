/**
 * A page without a peer program: its files come from the source tree, its socket is spoken to by the test.
 *
 * For what needs no network: looks, languages, keys, sixteen people, troubles with devices.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newPage } from './chromium.js';

const FILES = fileURLToPath(new URL('../../peer/src/ui/page', import.meta.url));
/** @type {Record<string, string>} */
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self'";
export const LINK = 'meipo://rv.example.org:1935/tea#l25so3po6jejkdqj7wwbrqn4mphno37phv5ja2vb365f4wsj2q3a.zdbbiiopx3ifjdzsyplogsm4wu';
const NAMES = ['Bob', '陳美玲', 'Carol', 'Dave', 'Erin with quite a long name', 'Frank', '林志明', 'Heidi', 'Ivan', 'Judy', 'Kim', 'Leo', 'Mia', 'Nina', 'Oscar'];

/** Stands where the peer program stands. */
export class Pretend {
  /**
   * Opens the page in `context` and answers its hello.
   * @param {import('playwright-core').BrowserContext} context @param {{people?: number, video?: object, isHost?: boolean}} what
   */
  static async open(context, { people = 0, video = {}, isHost = false } = {}) {
    const { page, errors } = await newPage(context);
    const pretend = new Pretend(page, errors, people, video);
    pretend.isHost = isHost;
    await page.routeWebSocket(/\/ws$/, (socket) => pretend.accept(socket));
    await page.goto(`http://127.0.0.1:${await port}/#token`);
    return pretend;
  }

  /** @param {import('playwright-core').Page} page @param {string[]} errors @param {number} people @param {object} video */
  constructor(page, errors, people, video) {
    this.page = page;
    this.errors = errors;
    this.people = NAMES.slice(0, people).map((name, at) => ({ name, id: `peer${at}`.padEnd(52, 'abcdefgh') }));
    this.video = video;
    this.isInCall = false;
    /** Whether the person is a host of the room. */
    this.isHost = false;
    /** Every text message of the page. @type {any[]} */
    this.heard = [];
    /** Lengths of the pictures and of the sound it sent. */
    this.pictures = 0;
    this.sounds = 0;
    this.loudSounds = 0;
    /** @type {import('playwright-core').WebSocketRoute | null} */
    this.socket = null;
    /** The number of a page that lost its place. @type {number | null} */
    this.former = null;
  }

  /** @param {import('playwright-core').WebSocketRoute} socket */
  accept(socket) {
    this.socket = socket;
    socket.onMessage((message) => (typeof message === 'string' ? this.text(JSON.parse(message)) : this.media(message)));
  }

  /** @param {object} message */
  say(message) {
    this.socket?.send(JSON.stringify(message));
  }

  /** Sends a piece of a file. @param {number} number @param {number} offset @param {number} length */
  piece(number, offset, length) {
    const message = Buffer.alloc(16 + length);
    message.writeUInt8(3, 0);
    message.writeUInt32LE(number, 4);
    message.writeBigUInt64LE(BigInt(offset), 8);
    this.socket?.send(message);
  }

  /** @param {any} message */
  text(message) {
    this.heard.push(message);
    if (message.type === 'hello' && message.visit === this.former) this.say({ type: 'replaced' });
    else if (message.type === 'hello') this.welcome();
    if (message.type === 'join') this.enter(message.name);
    if (message.type === 'publish' && message.codec) {
      this.say({ type: 'encode', track: message.track, bitrate_kbps: 300, layers: 2 });
    }
    if (message.type === 'chat') this.say({ type: 'chat', id: this.heard.length, peer: null, name: 'Alice', text: message.text, at: NOON });
    if (message.type === 'leave') this.say({ type: 'left' });
  }

  welcome() {
    const video = { width: 320, height: 240, rate: 15, bitrate_kbps: null, keyframe_interval: null, ...this.video };
    this.say({ type: 'welcome', version: 1, resume: 'again', name: 'Alice', room: 'tea', invite: LINK, host: this.isHost, video, in_call: this.isInCall, next_track: 1 });
    if (this.isInCall) this.enter('Alice');
  }

  /** @param {string} name */
  enter(name) {
    this.isInCall = true;
    this.say({ event: 'joined', id: 'me'.repeat(26), name, room: 'tea', observed: '127.0.0.1:7' });
    for (const [at, person] of this.people.entries()) this.introduce(at, person);
  }

  /** @param {number} at @param {{name: string, id: string}} person */
  introduce(at, { name, id }) {
    const kind = ['direct', 'relayed', 'tunnelled'][at % 3];
    this.say({ event: 'peer-joined', peer: id, name, safety_number: '69830 86269 98773 80326 06259 36264' });
    this.say({ event: 'path', peer: id, name, kind, rtt_ms: 12.3, address_family: 'ipv4' });
    this.say({ event: 'track', peer: id, name, track: 2, codec: 'opus', source: 'microphone', kind: 'audio', sample_rate: 48000, channels: 1 });
    if (at % 4 === 1) this.say({ type: 'state', peer: id, muted: true, camera: false, hand: false });
    if (at % 5 === 2) this.say({ type: 'state', peer: id, muted: false, camera: false, hand: true });
  }

  /** A second of figures for everybody. @param {number} second */
  figures(second) {
    for (const { name, id } of this.people) {
      const wave = Math.sin(second / 4);
      this.say({
        event: 'stats', peer: id, name, path: 'direct', sent_kbps: 450 + Math.round(90 * wave), received_kbps: 600, loss: second % 9 ? 0 : 0.02,
        rtt_ms: 12, frames: second * 80, frames_lost: 1, freezes: 0, freeze_ms: 0, longest_gap_ms: 40, latency_ms: 48, jitter_buffer_ms: 30,
        estimate_kbps: 2400, queue_ms: 1, parity_share: 0.03,
      });
    }
  }

  /** @param {Buffer} message */
  media(message) {
    if (message[0] === 1) this.pictures += 1;
    if (message[0] !== 2) return;
    this.sounds += 1;
    const samples = Array.from({ length: (message.length - 16) / 2 }, (_, at) => message.readInt16LE(16 + at * 2));
    if (samples.some((sample) => Math.abs(sample) > 500)) this.loudSounds += 1;
  }

  /** What the page said of this type. @param {string} type */
  said(type) {
    return this.heard.filter((message) => message.type === type);
  }

  /** The newest state it told. */
  get state() {
    return this.said('state').pop();
  }

  /** From the lobby into the call. */
  async join() {
    await this.page.locator('#lobby-join').click();
    await this.page.locator('#call').waitFor();
  }
}

/** Serves the page's files as the program does; worklets are not loaded by a routed request. @returns {Promise<number>} */
function serve() {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://127.0.0.1').pathname;
    const name = path === '/' ? '/index.html' : path;
    const body = await readFile(FILES + name).catch(() => null);
    const type = `${TYPES[extname(name)]}; charset=utf-8`;
    response.writeHead(body ? 200 : 404, { 'content-type': type, 'content-security-policy': POLICY }).end(body);
  });
  server.unref();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

const NOON = Date.UTC(2026, 0, 1, 12);
const port = serve();
