/**
 * The real programs: a rendezvous on loopback, and `peer join` for each person. What is waited for are the lines they print.
 */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { browser, newPage, PATIENCE_MS } from './chromium.js';

const BIN = process.env.MEIPO_BIN_DIR ?? new URL('../../target/debug', import.meta.url).pathname;

/** A running program; killed when the test is over. */
export class Program {
  /** @param {import('node:test').TestContext} t @param {string} name @param {string[]} line @param {Record<string, string>} environment */
  constructor(t, name, line, environment = {}) {
    this.child = spawn(join(BIN, name), line, { env: { PATH: process.env.PATH ?? '', ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.name = name;
    /** @type {string[]} */
    this.lines = [];
    /** @type {string[]} */
    this.complaints = [];
    /** @type {Set<() => void>} */
    this.waiting = new Set();
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
    const hear = (/** @type {string[]} */ list) => (/** @type {string} */ line) => {
      list.push(line);
      for (const look of [...this.waiting]) look();
    };
    createInterface({ input: this.child.stdout }).on('line', hear(this.lines));
    createInterface({ input: this.child.stderr }).on('line', hear(this.complaints));
    t.after(() => this.kill());
  }

  /**
   * The first event it prints that `matches`, now or later.
   * @param {string} what @param {(event: any) => boolean} matches @returns {Promise<any>}
   */
  event(what, matches) {
    return this.line(what, (line) => line.startsWith('{') && matches(JSON.parse(line))).then((line) => JSON.parse(line));
  }

  /** @param {string} what @param {(line: string) => boolean} matches @returns {Promise<string>} */
  line(what, matches) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = [...this.lines, ...this.complaints].find(matches);
        if (found === undefined) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(found);
      };
      const said = () => [...this.lines, ...this.complaints].slice(-20).join('\n');
      const timer = setTimeout(() => reject(new Error(`${this.name}: no ${what}; it said:\n${said()}`)), PATIENCE_MS);
      this.waiting.add(look);
      look();
    });
  }

  /** Ends it at once, without a goodbye. */
  async kill() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** A room on a rendezvous of its own. */
export class Room {
  /** @param {import('node:test').TestContext} t */
  static async open(t) {
    const folder = await mkdtemp(join(tmpdir(), 'meipo-room-'));
    t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const room = new Room(t, folder, await freePort());
    await room.start();
    const invite = new Program(t, 'rendezvous', ['invite', 'tea', '--public-addr', `127.0.0.1:${room.port}`, '--data-dir', room.data]);
    room.link = await invite.line('link', (line) => line.startsWith('meipo://'));
    return room;
  }

  /** A room that has a host: its guests have the link, the host another. @param {import('node:test').TestContext} t */
  static async hosted(t) {
    const room = await Room.open(t);
    const invite = new Program(t, 'rendezvous', ['invite', 'tea', '--host', '--public-addr', `127.0.0.1:${room.port}`, '--data-dir', room.data]);
    const links = await Promise.all(['host', 'guests'].map((label) => invite.line(label, (line) => line.startsWith(`${label} `))));
    const [hostLink = '', link = ''] = links.map((line) => line.replace(/^\S+\s+/, ''));
    room.link = link;
    return { room, hostLink };
  }

  /** @param {import('node:test').TestContext} t @param {string} folder @param {number} port */
  constructor(t, folder, port) {
    this.t = t;
    this.folder = folder;
    this.port = port;
    this.data = join(folder, 'data');
    this.link = '';
    /** @type {Program | null} */
    this.rendezvous = null;
  }

  async start() {
    this.rendezvous = new Program(this.t, 'rendezvous', ['--listen', `127.0.0.1:${this.port}`, '--data-dir', this.data]);
    await this.rendezvous.line('address', (line) => line.includes(String(this.port)));
  }

  /** A peer without a page yet. @param {string} name @param {string[]} line @param {string} link */
  async peer(name, line = [], link = this.link) {
    const all = ['join', link, '--no-browser', '--json', '--name', name, ...line];
    if (!line.includes('--video')) all.push('--video', '160x120@10');
    const program = new Program(this.t, 'peer', all, { XDG_STATE_HOME: join(this.folder, name), HOME: this.folder });
    const { url } = await program.event('page', (event) => event.event === 'page');
    return { program, url };
  }

  /**
   * Somebody at the lobby: a peer and a browser.
   * @param {string} name @param {import('./chromium.js').Options & {line?: string[], link?: string}} options
   */
  async person(name, { line = [], link = this.link, ...options } = {}) {
    const [{ program, url }, context] = await Promise.all([this.peer(name, line, link), browser(this.t, options)]);
    return visit(name, program, context, url);
  }
}

/**
 * Somebody at the lobby of the demo, which has a rendezvous of its own.
 * @param {import('node:test').TestContext} t @param {string} name @param {import('./chromium.js').Options} options
 */
export async function demoGuest(t, name, options) {
  const folder = await mkdtemp(join(tmpdir(), 'meipo-demo-'));
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const line = ['demo', '--no-browser', '--json', '--name', name, '--pattern', '160x120@10', '--video', '160x120@10'];
  const program = new Program(t, 'peer', line, { XDG_STATE_HOME: folder, HOME: folder });
  const [{ url }, context] = await Promise.all([program.event('page', (event) => event.event === 'page'), browser(t, options)]);
  return visit(name, program, context, url);
}

/** @param {string} name @param {Program} program @param {import('playwright-core').BrowserContext} context @param {string} url */
export async function visit(name, program, context, url) {
  await context.addInitScript(listen);
  const { page, errors } = await newPage(context);
  await page.goto(url);
  await page.locator('#lobby').waitFor();
  return new Person(name, program, context, page, errors, url);
}

export class Person {
  /**
   * @param {string} name @param {Program} program @param {import('playwright-core').BrowserContext} context
   * @param {import('playwright-core').Page} page @param {string[]} errors @param {string} url
   */
  constructor(name, program, context, page, errors, url) {
    this.name = name;
    this.program = program;
    this.context = context;
    this.page = page;
    this.errors = errors;
    this.url = url;
  }

  async join() {
    await this.page.locator('#lobby-join').click();
    await this.page.locator('#call').waitFor();
  }

  /** The tile of somebody else's camera. @param {string} name */
  tile(name) {
    return this.page.locator('.tile').filter({ has: this.page.locator('.name').getByText(name, { exact: true }) });
  }

  /** The mean colours of the four quarters of what is seen of somebody; null while nothing is. @param {string} name @returns {Promise<number[][] | null>} */
  quarters(name) {
    return this.tile(name)
      .locator('canvas')
      .evaluateAll(meanColours);
  }

  /** How strong each of these frequencies is in what is heard, decibels, the most since the last call. @param {number[]} frequencies @returns {Promise<number[]>} */
  hears(frequencies) {
    return this.page.evaluate((list) => /** @type {any} */ (window).heard?.(list) ?? list.map(() => -Infinity), frequencies);
  }
}

/** Runs in the page: the mean colours of the four quarters of the first of these canvases. @param {Element[]} all */
export function meanColours(all) {
  const [canvas] = all;
  if (!(canvas instanceof HTMLCanvasElement) || canvas.hidden) return null;
  const small = new OffscreenCanvas(2, 2).getContext('2d');
  small?.drawImage(canvas, 0, 0, 2, 2);
  const { data } = small?.getImageData(0, 0, 2, 2) ?? { data: [] };
  return [0, 4, 8, 12].map((at) => [...data.slice(at, at + 3)]);
}

/** Runs in the page before it: keeps an ear at what goes to the speaker. */
export function listen() {
  const connect = AudioNode.prototype.connect;
  /** @type {AnalyserNode | null} */
  let ear = null;
  // @ts-expect-error: two shapes of connect, of which the page uses one.
  AudioNode.prototype.connect = function (/** @type {any} */ target, /** @type {any[]} */ ...rest) {
    if (target instanceof AudioDestinationNode && this instanceof AudioWorkletNode) {
      ear = new AnalyserNode(this.context, { fftSize: 4096, smoothingTimeConstant: 0 });
      connect.call(this, /** @type {any} */ (ear));
    }
    return connect.call(this, target, ...rest);
  };
  /** @type {Map<number, number>} */
  const most = new Map();
  setInterval(() => {
    if (!ear) return;
    const bins = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(bins);
    bins.forEach((level, at) => most.set(at, Math.max(most.get(at) ?? -Infinity, level)));
  }, 40);
  Object.assign(window, {
    heard: (/** @type {number[]} */ frequencies) => {
      const width = (ear?.context.sampleRate ?? 48000) / 4096;
      const levels = frequencies.map((frequency) => most.get(Math.round(frequency / width)) ?? -Infinity);
      most.clear();
      return levels;
    },
  });
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}
