/**
 * A call between Firefox and Chromium.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { until } from './chromium.js';
import { firefoxPage, isMissing } from './firefox.js';
import { Room, meanColours } from './programs.js';
import { film, looksLike, tone } from './stage-set.js';

const FOLDER = mkdtempSync(join(tmpdir(), 'meipo-firefox-'));
after(() => rmSync(FOLDER, { recursive: true, force: true, maxRetries: 5 }));
/** @type {import('./stage-set.js').Colour[]} */
const ALICE = [[200, 30, 30], [30, 30, 200], [30, 30, 30], [210, 210, 40]];
film(join(FOLDER, 'alice.y4m'), ALICE);
tone(join(FOLDER, 'alice.wav'), 440);
/** Of the tone of Firefox's own fake microphone. */
const BOBS_FREQUENCY = 1000;

test('Firefox and Chromium see and hear each other, write, and send files', { skip: isMissing }, async (t) => {
  const room = await Room.open(t);
  const devices = { viewport: { width: 900, height: 600 }, camera: join(FOLDER, 'alice.y4m'), microphone: join(FOLDER, 'alice.wav') };
  const alice = await room.person('alice', devices);
  const [bob, { page, errors }] = await Promise.all([room.peer('bob'), firefoxPage(t, FOLDER)]);
  await page.goto(bob.url);
  await page.waitForSelector('#lobby:not([hidden])');
  await alice.join();
  await page.click('#lobby-join');
  await page.waitForSelector('#call:not([hidden])');

  await until("alice's picture in Firefox", () => page.$$eval('.tile canvas:not([hidden])', meanColours), (seen) => seen !== null && looksLike(seen, ALICE));
  // The fake camera of Firefox is one colour at a time, another soon.
  const first = await until("bob's picture", () => alice.quarters('bob'), (seen) => seen !== null);
  await until('another picture', () => alice.quarters('bob'), (seen) => seen !== null && String(seen) !== String(first));
  await until("alice's tone in Firefox", () => page.evaluate(() => /** @type {any} */ (window).heard([440, 3000])), ([own = -200, none = 0]) => own > -60 && own > none + 15);
  await until("bob's tone", () => alice.hears([BOBS_FREQUENCY, 3000]), ([own = -200, none = 0]) => own > -60 && own > none + 15);

  await page.click('#control-chat');
  await page.type('#chat-text', '茶?');
  await page.keyboard.press('Enter');
  await alice.page.locator('#control-chat').click();
  await alice.page.locator('.message').getByText('茶?').waitFor();

  const file = join(FOLDER, 'from bob.bin');
  await writeFile(file, Buffer.alloc(500_000, 'bob'));
  await (await page.waitForSelector('input#file-chooser'))?.uploadFile(file);
  await alice.page.evaluate(() => void delete (/** @type {any} */ (window).showSaveFilePicker));
  const download = alice.page.waitForEvent('download');
  await alice.page.getByRole('button', { name: 'Save from bob.bin' }).click();
  assert.deepEqual(await readFile(await (await download).path()), await readFile(file));

  await alice.page.locator('#file-chooser').setInputFiles({ name: 'from alice.bin', mimeType: '', buffer: Buffer.alloc(500_000, 'alice') });
  await (await page.waitForSelector('button[aria-label="Save from alice.bin"]'))?.click();
  await until('the download', () => readFile(join(FOLDER, 'from alice.bin')).catch(() => Buffer.alloc(0)), (it) => it.equals(Buffer.alloc(500_000, 'alice')));

  await page.click('#control-leave');
  await alice.tile('bob').waitFor({ state: 'detached' });
  assert.deepEqual(errors, []);
  assert.deepEqual(alice.errors, []);
});
