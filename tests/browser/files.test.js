/**
 * Files in a call: dropped at one page, saved from another, while the talk goes on.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { browser, until } from './chromium.js';
import { Pretend } from './pretend.js';
import { Room } from './programs.js';
import { tone } from './stage-set.js';

const FOLDER = mkdtempSync(join(tmpdir(), 'meipo-files-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));
const FREQUENCY = 1000;
tone(join(FOLDER, 'tone.wav'), FREQUENCY);
const SMALL = { viewport: { width: 900, height: 600 } };

test('a file that is dropped at one page is saved from another, unchanged, while the talk goes on', async (t) => {
  const { alice, bob } = await two(t);
  await forgetPicker(alice.page);
  await drop(bob.page, 'holiday 茶.bin', 3_000_000);
  const row = fileRow(alice.page, 'holiday 茶.bin');
  await row.getByText('3 MB from bob').waitFor();
  await until('the tone before', () => alice.hears([FREQUENCY]), ([level = -200]) => level > -60);

  const download = alice.page.waitForEvent('download');
  await row.getByRole('button', { name: 'Save holiday 茶.bin' }).click();
  const levels = [];
  while (!(await row.getByText('3 MB, saved').isVisible())) {
    // Longer than the pause between two bursts.
    await alice.page.waitForTimeout(1000);
    levels.push((await alice.hears([FREQUENCY]))[0] ?? -200);
  }
  const saved = await download;
  assert.equal(saved.suggestedFilename(), 'holiday 茶.bin');
  assert.equal(digest(await readFile(await saved.path())), digest(content(3_000_000)));
  assert.ok(levels.every((level) => level > -60), `the tone goes on: ${levels}`);
  await fileRow(bob.page, 'holiday 茶.bin').getByText('3 MB, saved by 1').waitFor();

  await t.test('saved, it can go from the list, and what is taken back is gone', async () => {
    await row.getByRole('button', { name: /^Remove/ }).click();
    await alice.page.locator('#files').waitFor({ state: 'hidden' });
    await drop(bob.page, 'regretted.txt', 10);
    await fileRow(alice.page, 'regretted.txt').waitFor();
    await fileRow(bob.page, 'regretted.txt').getByRole('button', { name: 'Take back regretted.txt' }).click();
    await fileRow(alice.page, 'regretted.txt').waitFor({ state: 'detached' });
  });

  await t.test('a file of no bytes is a file too', async () => {
    await drop(bob.page, 'empty', 0);
    const download = alice.page.waitForEvent('download');
    await fileRow(alice.page, 'empty').getByRole('button').click();
    assert.equal((await readFile(await (await download).path())).length, 0);
  });
  for (const person of [alice, bob]) assert.deepEqual(person.errors, [], person.name);
});

test('a file that is on its way can be refused, taken back, and had again', async (t) => {
  const { alice, bob } = await two(t);
  await forgetPicker(alice.page);
  const name = 'large.bin';
  await drop(bob.page, name, LARGE);
  const row = fileRow(alice.page, name);
  const own = fileRow(bob.page, name);
  await row.getByRole('button', { name: 'Save large.bin' }).click();
  await until('progress', () => row.locator('progress').evaluate((it) => /** @type {HTMLProgressElement} */ (it).value), (value) => value > 0);
  await own.getByText(/sent to alice/).waitFor();
  await row.getByRole('button', { name: 'Do not save large.bin' }).click();
  await row.getByText('60 MB from bob').waitFor();
  await own.getByText('60 MB, everyone can save it').waitFor();

  await row.getByRole('button', { name: 'Save large.bin' }).click();
  await until('progress', () => row.locator('progress').evaluate((it) => /** @type {HTMLProgressElement} */ (it).value), (value) => value > 0);
  await own.getByRole('button', { name: 'Take back large.bin' }).click();
  await row.getByText('Not saved: it is offered no longer').waitFor();
  await row.getByRole('button', { name: 'Remove large.bin from the list' }).click();
  await row.waitFor({ state: 'detached' });
  for (const person of [alice, bob]) assert.deepEqual(person.errors, [], person.name);
});

test('where the browser lets a page write to disk, the file goes there piece by piece', async (t) => {
  const { alice, bob } = await two(t);
  await alice.page.evaluate(pickInside);
  await drop(bob.page, 'a.bin', 1_000_000);
  const row = fileRow(alice.page, 'a.bin');
  await row.getByRole('button').click();
  await row.getByText('1 MB, saved').waitFor();
  const saved = await alice.page.evaluate(readInside, 'a.bin');
  assert.equal(saved, digest(content(1_000_000)));

  await drop(bob.page, 'full.bin', 1_000_000);
  await alice.page.evaluate(pickFullDisk);
  const full = fileRow(alice.page, 'full.bin');
  await full.getByRole('button').click();
  await full.getByText('Not saved: the disk is full').waitFor();
  await full.getByRole('button', { name: 'Save full.bin' }).waitFor();

  await alice.page.evaluate(pickNothing);
  await full.getByRole('button', { name: 'Save full.bin' }).click();
  await until('the button again', () => full.getByRole('button').isEnabled(), (it) => it);
  for (const person of [alice, bob]) assert.deepEqual(person.errors, [], person.name);
});

test('a file that was changed after it was offered is not sent', async (t) => {
  const peer = await Pretend.open(await browser(t, SMALL), { people: 1 });
  await peer.join();
  await drop(peer.page, 'notes.txt', 100);
  await until('the offer', async () => fileWishes(peer, 'offer')[0]?.size, (size) => size === 100);
  peer.say({ type: 'file', news: 'read', file: 1, ticket: 7, offset: 90, length: 20 });
  await until('a refusal', async () => fileWishes(peer, 'unreadable')[0], (wish) => wish?.ticket === 7 && /changed/.test(wish.message));
  peer.say({ type: 'file', news: 'read', file: 9, ticket: 8, offset: 0, length: 20 });
  await until('a refusal', async () => fileWishes(peer, 'unreadable')[1]?.ticket, (ticket) => ticket === 8);
});

test('what is offered stays offered when the page comes back to its peer, and no more than a peer takes', async (t) => {
  const peer = await Pretend.open(await browser(t, SMALL), { people: 1 });
  await peer.join();
  for (let at = 0; at < 32; at += 1) await drop(peer.page, `${at}.txt`, 10);
  await until('all offers', async () => fileWishes(peer, 'offer').length, (count) => count === 32);
  await drop(peer.page, 'one-too-many.txt', 10);
  await peer.page.locator('#notices').getByText('You can offer 32 files at a time').waitFor();
  await peer.socket?.close({ code: 1011 });
  await until('all offers again', async () => fileWishes(peer, 'offer').length, (count) => count === 64);
  assert.deepEqual(peer.errors, []);
});

/** Bytes of a file that is still on its way when a person has clicked. */
const LARGE = 60_000_000;

/** @param {import('node:test').TestContext} t */
async function two(t) {
  const room = await Room.open(t);
  const options = { ...SMALL, microphone: join(FOLDER, 'tone.wav') };
  const [alice, bob] = await Promise.all([room.person('alice', options), room.person('bob', options)]);
  for (const person of [alice, bob]) {
    await person.join();
    await person.page.locator('#control-chat').click();
  }
  await until('a way', () => alice.tile('bob').getAttribute('data-way'), (way) => way === 'direct');
  return { alice, bob };
}

/** @param {import('playwright-core').Page} page @param {string} name */
const fileRow = (page, name) => page.locator('#files .file').filter({ hasText: name });

/** @param {Pretend} peer @param {string} wish */
const fileWishes = (peer, wish) => peer.said('file').filter((message) => message.wish === wish);

/** @param {import('playwright-core').Page} page @param {string} name @param {number} size */
async function drop(page, name, size) {
  const data = await page.evaluateHandle(
    ([name, size]) => {
      const bytes = Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8) * 7) & 255);
      const data = new DataTransfer();
      data.items.add(new File([bytes], name));
      return data;
    },
    /** @type {const} */ ([name, size]),
  );
  await page.locator('#stage').dispatchEvent('dragover', { dataTransfer: data });
  await page.locator('#drop').waitFor();
  await page.locator('#stage').dispatchEvent('drop', { dataTransfer: data });
  await page.locator('#drop').waitFor({ state: 'hidden' });
}

/** What `drop` puts into a file. @param {number} size */
const content = (size) => Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8) * 7) & 255);

/** @param {Uint8Array} bytes */
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** As in browsers that let no page write to disk. @param {import('playwright-core').Page} page */
const forgetPicker = (page) => page.evaluate(() => void delete (/** @type {any} */ (window).showSaveFilePicker));

/** Runs in the page: instead of asking a person, a file in the page's own folder is taken. */
function pickInside() {
  /** @type {any} */ (window).showSaveFilePicker = async (/** @type {{suggestedName: string}} */ { suggestedName }) => {
    const folder = await navigator.storage.getDirectory();
    return folder.getFileHandle(suggestedName, { create: true });
  };
}

/** Runs in the page: @param {string} name */
async function readInside(name) {
  const folder = await navigator.storage.getDirectory();
  const file = await (await folder.getFileHandle(name)).getFile();
  const sum = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
  return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Runs in the page. */
function pickFullDisk() {
  const refuse = () => Promise.reject(new Error('the disk is full'));
  const stream = { write: refuse, close: refuse, abort: () => Promise.resolve() };
  /** @type {any} */ (window).showSaveFilePicker = async () => ({ createWritable: async () => stream });
}

/** Runs in the page: the person closes the question. */
function pickNothing() {
  /** @type {any} */ (window).showSaveFilePicker = () => Promise.reject(new DOMException('closed', 'AbortError'));
}
