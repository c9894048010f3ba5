/**
 * How old a picture is when it is shown: the page of `peer join`, and beside it Chromium's own RTCPeerConnection, on one machine in one run.
 *
 * `node latency.js [SECONDS]` prints a table. Both get the same camera, whose pictures say when they were taken; both are looked at in the
 * same way. They take turns, three times each, so that what else the machine does meets both.
 */
import { createServer } from 'node:http';
import { test } from 'node:test';
import { browser, newPage, until } from './chromium.js';
import { Room, visit } from './programs.js';
import { agesOfPictures, timeCodeCamera } from './time-code.js';

/** @typedef {import('playwright-core').Page} Page */

const SECONDS = Number(process.argv[2] ?? 20);
const WINDOW = { viewport: { width: 900, height: 600 } };

test('pictures are shown, and how old they are', async (t) => {
  /** @type {Record<string, number[]>} */
  const ages = { meipo: [], chromium: [] };
  for (let turn = 0; turn < 3; turn += 1) {
    for (const [name, measure] of Object.entries({ meipo, chromium })) {
      await t.test(name, async (t) => void ages[name]?.push(...(await measure(t))));
    }
  }
  console.log('capture to display, ms   p50   p95   most   pictures a second');
  for (const [name, all] of Object.entries(ages)) {
    const sorted = all.toSorted((one, other) => one - other);
    const at = (/** @type {number} */ share) => String(sorted[Math.floor((sorted.length - 1) * share)]);
    const rate = (all.length / (3 * SECONDS)).toFixed(1);
    console.log(`${name.padEnd(24)} ${at(0.5).padStart(3)} ${at(0.95).padStart(5)} ${at(1).padStart(6)}   ${rate.padStart(5)}`);
  }
});

/** @param {import('node:test').TestContext} t */
async function meipo(t) {
  const room = await Room.open(t);
  const people = [];
  for (const name of ['alice', 'bob']) {
    const [{ program, url }, context] = await Promise.all([room.peer(name, ['--video', '640x480@30']), browser(t, WINDOW)]);
    await context.addInitScript(timeCodeCamera);
    people.push(await visit(name, program, context, url));
  }
  for (const person of people) await person.join();
  const [, bob] = people;
  if (!bob) throw new Error('nobody looks');
  const shown = '.tile[data-peer]:not([data-peer="me"]) canvas:not([hidden])';
  return look(bob.page, shown);
}

/** @param {import('node:test').TestContext} t */
async function chromium(t) {
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<video autoplay muted>'));
  const port = await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(/** @type {any} */ (server.address()).port)));
  t.after(() => server.close());
  const pages = [];
  for (let at = 0; at < 2; at += 1) {
    const context = await browser(t, WINDOW);
    await context.addInitScript(timeCodeCamera);
    const { page } = await newPage(context);
    await page.goto(`http://127.0.0.1:${port}/`);
    pages.push(page);
  }
  const [alice, bob] = pages;
  if (!alice || !bob) throw new Error('nobody looks');
  for (const page of pages) await page.evaluate(open);
  const offer = await alice.evaluate(describe, null);
  const answer = await bob.evaluate(describe, offer);
  await alice.evaluate((description) => /** @type {any} */ (window).connection.setRemoteDescription(description), answer);
  return look(bob, 'video');
}

/** @param {Page} page @param {string} selector */
async function look(page, selector) {
  await until('pictures', () => page.evaluate(agesOfPictures, /** @type {[string, number]} */ ([selector, 1])), (ages) => ages.length > 20);
  // Both begin slowly and grow into what the way carries.
  await page.waitForTimeout(10_000);
  return page.evaluate(agesOfPictures, /** @type {[string, number]} */ ([selector, SECONDS]));
}

/** Runs in the page: a connection with camera and microphone. */
async function open() {
  const connection = new RTCPeerConnection();
  const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
  for (const track of stream.getTracks()) connection.addTrack(track, stream);
  connection.ontrack = ({ streams }) => {
    const video = document.querySelector('video');
    if (video) video.srcObject = streams[0] ?? null;
  };
  Object.assign(window, { connection });
}

/** Runs in the page: makes an offer, or answers one, with all its addresses. @param {RTCSessionDescriptionInit | null} offer @returns {Promise<RTCSessionDescriptionInit>} */
async function describe(offer) {
  /** @type {RTCPeerConnection} */
  const connection = /** @type {any} */ (window).connection;
  if (offer) await connection.setRemoteDescription(offer);
  await connection.setLocalDescription();
  if (connection.iceGatheringState !== 'complete') {
    await new Promise((resolve) => {
      connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && resolve(null);
    });
  }
  return /** @type {RTCSessionDescriptionInit} */ (connection.localDescription?.toJSON());
}
