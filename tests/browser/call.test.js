/**
 * Calls as people make them: each with a page in a browser and a peer program, over a real rendezvous on this machine.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { browser, newPage, until } from './chromium.js';
import { Room, demoGuest } from './programs.js';
import { film, looksLike, portrait, tone } from './stage-set.js';

const FOLDER = mkdtempSync(join(tmpdir(), 'meipo-stage-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));
const SHOTS = fileURLToPath(new URL('shots', import.meta.url));
mkdirSync(SHOTS, { recursive: true });
/** Smaller windows: everything is drawn by the processor here. */
const SMALL = { viewport: { width: 900, height: 600 } };
const README = fileURLToPath(new URL('../../peer', import.meta.url));

/** @type {Record<string, {quarters: import('./stage-set.js').Colour[], frequency: number}>} */
const CAST = {
  alice: { quarters: [[200, 30, 30], [30, 30, 200], [30, 30, 30], [210, 210, 40]], frequency: 440 },
  bob: { quarters: [[30, 150, 30], [220, 220, 220], [200, 30, 200], [30, 30, 30]], frequency: 1000 },
  carol: { quarters: [[30, 30, 30], [30, 200, 200], [230, 130, 20], [30, 30, 160]], frequency: 2300 },
};
for (const [name, { quarters, frequency }] of Object.entries(CAST)) {
  film(join(FOLDER, `${name}.y4m`), quarters);
  tone(join(FOLDER, `${name}.wav`), frequency);
}
const devices = (/** @type {string} */ name) => ({ ...SMALL, camera: join(FOLDER, `${name}.y4m`), microphone: join(FOLDER, `${name}.wav`) });

test('three people see and hear each other, and write', async (t) => {
  const room = await Room.open(t);
  /** @type {import('./programs.js').Person[]} */
  const people = [];
  for (const name of Object.keys(CAST)) people.push(await room.person(name, devices(name)));
  for (const person of people) await person.join();
  const pairs = people.flatMap((person) => people.filter((other) => other !== person).map((other) => ({ person, other })));

  for (const { person, other } of pairs) {
    const expected = CAST[other.name]?.quarters ?? [];
    await until(`${other.name}'s picture at ${person.name}'s`, () => person.quarters(other.name), (seen) => seen !== null && looksLike(seen, expected));
    await until(`moving pictures of ${other.name} at ${person.name}'s`, () => signatures(person, other.name), (count) => count >= 3);
  }
  for (const { person, other } of pairs) {
    await until(`${other.name}'s tone at ${person.name}'s`, () => person.hears([CAST[other.name]?.frequency ?? 0, 3000]), ([own = -200, none = 0]) => own > -60 && own > none + 15);
  }
  for (const { person, other } of pairs) {
    await until('a way', () => person.tile(other.name).getAttribute('data-way'), (way) => way === 'direct');
  }

  const [alice, bob, carol] = people;
  assert.ok(alice && bob && carol);
  await t.test('chat arrives as it was written', async () => {
    const text = 'Ünï¢ode 你好 <b>&amp;</b> 👋\nsecond line';
    await alice.page.locator('#control-chat').click();
    await alice.page.locator('#chat-text').fill(text);
    await alice.page.keyboard.press('Enter');
    for (const person of [bob, carol]) {
      await person.page.locator('#control-chat').click();
      await person.page.locator('.message').waitFor();
      assert.equal(await person.page.locator('.message').textContent(), text);
      assert.match(await person.page.locator('.said').innerText(), /alice/);
    }
  });

  await t.test('mute is silence, and everybody sees it', async () => {
    const { frequency } = /** @type {{frequency: number}} */ (CAST.bob);
    /** @type {Record<string, number>} */
    const loud = {};
    for (const person of [alice, carol]) loud[person.name] = await quiet(person, frequency);
    await bob.page.locator('#control-mic').click();
    for (const person of [alice, carol]) {
      await person.tile('bob').locator('.is-muted').waitFor({ state: 'visible' });
      await until('silence', () => quiet(person, frequency), (level) => level < (loud[person.name] ?? 0) - 30);
    }
    await bob.page.locator('#control-mic').click();
    await until('bob again', () => alice.hears([frequency]), ([level = -200]) => level > -60);
  });

  await t.test('the same safety number on both sides', async () => {
    const numbers = [];
    for (const [person, name] of /** @type {const} */ ([[alice, 'bob'], [bob, 'alice']])) {
      await person.tile(name).locator('.about').click();
      const row = person.page.locator('.person').filter({ hasText: name });
      numbers.push(await row.locator('.safety').innerText());
    }
    assert.match(numbers[0] ?? '', /^\d{5}( \d{5}){5}$/);
    assert.equal(numbers[0], numbers[1]);
  });

  await t.test('who leaves is gone for the others within a second', async () => {
    // On a machine that is busy with other things a line of chat tells how much later everything comes.
    const carolsId = await alice.tile('carol').getAttribute('data-peer');
    const line = alice.page.evaluate(whenWritten, 'goodbye');
    const written = await carol.page.evaluate(write, 'goodbye');
    const limit = Math.max(1000, 3 * ((await line) - written));
    const gone = [alice, bob].map((person) => person.page.evaluate(whenGone, carolsId ?? ''));
    const start = await carol.page.evaluate(() => {
      document.getElementById('control-leave')?.click();
      return Date.now();
    });
    for (const time of await Promise.all(gone)) assert.ok(time - start < limit, `${time - start} of ${limit} ms`);
    await carol.page.getByRole('heading', { name: 'You have left the call' }).waitFor();
    await carol.program.ended;
  });

  await t.test('a reload brings everything back', async () => {
    await alice.page.reload();
    await alice.page.locator('#call').waitFor();
    await until('bob', () => alice.quarters('bob'), (seen) => seen !== null && looksLike(seen, CAST.bob?.quarters ?? []));
    await until('alice', () => signatures(bob, 'alice'), (count) => count >= 3);
    await alice.page.locator('#control-chat').click();
    await alice.page.locator('.message').first().waitFor();
  });
  for (const person of people) assert.deepEqual(person.errors, [], person.name);
});

test('who is killed is told to the others and to their own page', async (t) => {
  const room = await Room.open(t);
  const alice = await room.person('alice', devices('alice'));
  const bob = await room.person('bob', devices('bob'));
  await alice.join();
  await bob.join();
  await alice.tile('bob').waitFor();
  await bob.program.kill();
  await bob.page.locator('#banner').waitFor();
  await bob.page.getByRole('heading', { name: 'The peer program has ended' }).waitFor();
  await alice.tile('bob').waitFor({ state: 'detached', timeout: 60_000 });
  await alice.page.locator('#notices').getByText('bob was lost').waitFor();
});

test('a rendezvous that restarts shows a banner, and the call goes on', async (t) => {
  const room = await Room.open(t);
  const alice = await room.person('alice', devices('alice'));
  const bob = await room.person('bob', devices('bob'));
  await alice.join();
  await bob.join();
  await until('bob', () => signatures(alice, 'bob'), (count) => count >= 3);
  await until('a way', () => alice.tile('bob').getAttribute('data-way'), (way) => way === 'direct');
  await room.rendezvous?.kill();
  await alice.page.locator('#banner').getByText('cannot be reached').waitFor({ timeout: 60_000 });
  await alice.page.screenshot({ path: `${SHOTS}/banner.png` });
  await until('bob still', () => signatures(alice, 'bob'), (count) => count >= 3);
  await room.start();
  await alice.page.locator('#banner').waitFor({ state: 'hidden', timeout: 60_000 });
  await until('bob still', () => signatures(alice, 'bob'), (count) => count >= 3);
});

test('a second page takes over, and the first takes back', async (t) => {
  const room = await Room.open(t);
  const alice = await room.person('alice', devices('alice'));
  await alice.join();
  const popup = alice.context.waitForEvent('page');
  await alice.page.evaluate(() => void window.open(location.href));
  const second = await popup;
  await second.locator('#call').waitFor();
  await alice.page.getByRole('heading', { name: 'The call is open in another page' }).waitFor();
  await alice.page.screenshot({ path: `${SHOTS}/replaced.png` });
  await alice.page.bringToFront();
  await alice.page.getByRole('button', { name: 'Use it here' }).click();
  await alice.page.locator('#call').waitFor();
  await second.getByRole('heading', { name: 'The call is open in another page' }).waitFor();
});

test('a wrong token is not let in, and a right one only once', async (t) => {
  const room = await Room.open(t);
  const { url } = await room.peer('alice');
  const context = await browser(t, devices('alice'));
  const { page } = await newPage(context);
  await page.goto(url.replace(/#.*/, '#wrong'));
  await page.getByRole('heading', { name: 'This page is not let in' }).waitFor();
  await page.screenshot({ path: `${SHOTS}/wrong-token.png` });
  const right = await newPage(context);
  await right.page.goto(url);
  await right.page.locator('#lobby').waitFor();
  assert.equal(new URL(right.page.url()).hash, '');
  const again = await newPage(context);
  await again.page.goto(url);
  await again.page.getByRole('heading', { name: 'This page is not let in' }).waitFor();
  await right.page.locator('#lobby').waitFor();
});

test('other pages of this machine and names that were bent are turned away', async (t) => {
  const room = await Room.open(t);
  const { url } = await room.peer('alice');
  const { port, host } = new URL(url);
  const statuses = await Promise.all([
    status(port, '/', { host }),
    status(port, '/', { host: `evil.example:${port}` }),
    status(port, '/ws', { host, origin: 'http://evil.example', ...UPGRADE }),
    status(port, '/ws', { host, origin: 'http://127.0.0.1:1', ...UPGRADE }),
    status(port, '/ws', { host, ...UPGRADE }),
    status(port, '/ws', { host, origin: `http://${host}`, ...UPGRADE }),
  ]);
  assert.equal(statuses[0], 200);
  for (const refused of statuses.slice(1, 5)) assert.ok(refused >= 400 && refused < 500, statuses.join());
  assert.equal(statuses[5], 101);
});

test('a screen is shared, shown large, and ended', async (t) => {
  const room = await Room.open(t);
  const share = ['--auto-select-desktop-capture-source=Entire screen'];
  const alice = await room.person('alice', { ...devices('alice'), args: share });
  const bob = await room.person('bob', devices('bob'));
  await alice.join();
  await bob.join();
  await bob.tile('alice').waitFor();
  await alice.page.locator('#control-screen').click();
  const screen = bob.page.locator('.tile.is-screen');
  await screen.locator('canvas:not([hidden])').waitFor();
  await until('a large tile', () => screen.evaluate((it) => it.clientWidth), (width) => width > 500);
  await bob.page.screenshot({ path: `${SHOTS}/screen.png` });
  await alice.page.locator('#control-screen').click();
  await screen.waitFor({ state: 'detached' });
});

test('the host mutes, locks and removes, and the others see it', async (t) => {
  const { room, hostLink } = await Room.hosted(t);
  const alice = await room.person('alice', { ...devices('alice'), link: hostLink });
  const bob = await room.person('bob', devices('bob'));
  const carol = await room.person('carol', { ...devices('carol'), locale: 'zh-TW' });
  for (const person of [alice, bob, carol]) await person.join();
  const bobsTone = CAST.bob?.frequency ?? 0;
  await until('bob is heard', () => alice.hears([bobsTone]), ([level = -200]) => level > -60);
  await alice.page.locator('#control-people').click();
  await bob.page.locator('#control-people').click();
  assert.equal(await bob.page.locator('#host-bar').isVisible(), false, 'a guest has no such buttons');

  await alice.page.getByRole('button', { name: 'Mute everyone' }).click();
  await bob.page.locator('#rule-muted').waitFor();
  await alice.tile('bob').locator('.is-muted').waitFor({ state: 'visible' });
  await until('silence', () => quiet(alice, bobsTone), (level) => level < -75);
  await bob.page.getByRole('button', { name: /The host has muted everyone/ }).click();
  await bob.page.locator('#notices').getByText('nobody hears you').waitFor();
  await carol.page.getByText('只聽得到主持人').waitFor();
  assert.ok((await quiet(bob, CAST.alice?.frequency ?? 0)) > -60, 'the host is heard');
  await alice.page.screenshot({ path: `${SHOTS}/host.png` });
  await alice.page.getByRole('button', { name: 'Let everyone speak' }).click();
  await bob.page.locator('#rule-muted').waitFor({ state: 'hidden' });
  await until('bob again', () => alice.hears([bobsTone]), ([level = -200]) => level > -60);

  await alice.page.getByRole('button', { name: 'Lock the room' }).click();
  await bob.page.locator('#rule-locked').waitFor();
  const dave = await room.person('dave', devices('alice'));
  await dave.page.locator('#lobby-join').click();
  await dave.page.getByRole('heading', { name: 'The host has locked the room' }).waitFor();

  await alice.page.locator('.person summary').filter({ hasText: 'carol' }).click();
  await alice.page.getByRole('button', { name: 'Remove carol' }).click();
  await alice.page.keyboard.press('Escape');
  await alice.tile('carol').waitFor();
  await alice.page.getByRole('button', { name: 'Remove carol' }).click();
  await alice.page.getByRole('button', { name: 'Remove', exact: true }).click();
  await carol.page.getByRole('heading', { name: '主持人已將你移出房間' }).waitFor();
  for (const person of [alice, bob]) await person.tile('carol').waitFor({ state: 'detached' });
  await bob.page.locator('#notices').getByText('The host has removed carol').waitFor();
  for (const person of [alice, bob, carol, dave]) assert.deepEqual(person.errors, [], person.name);
});

test('the demo ends in a page: three people are there, and who leaves ends it', async (t) => {
  const guest = await demoGuest(t, 'you', devices('carol'));
  await guest.join();
  for (const name of ['alice', 'bob', 'carol']) {
    await until(`moving pictures of ${name}`, () => signatures(guest, name), (count) => count >= 3);
  }
  await guest.program.event('alice sees the guest', (event) => event.event === 'stats' && event.at === 'alice' && event.name === 'you' && event.frames > 20);
  await guest.page.locator('#control-leave').click();
  assert.equal(await guest.program.ended, 0);
  assert.deepEqual(guest.errors, []);
});

test('a call of four has its picture taken', async (t) => {
  const room = await Room.open(t);
  const studio = await browser(t);
  const names = ['Alice', 'Bob', 'Carol', '陳美玲'];
  /** @type {import('./programs.js').Person[]} */
  const people = [];
  for (const [at, name] of names.entries()) {
    const camera = join(FOLDER, `portrait${at}.y4m`);
    await portrait(studio, camera, at);
    const microphone = join(FOLDER, `${Object.keys(CAST)[at % 3]}.wav`);
    people.push(await room.person(name, { line: ['--video', '480x360@10'], camera, microphone, colorScheme: 'dark' }));
  }
  const [first, ...others] = people;
  assert.ok(first);
  for (const person of people) await person.join();
  for (const other of others) await until(`${other.name}'s picture`, () => first.quarters(other.name), (seen) => seen !== null);
  await until('ways', () => first.page.locator('.tile[data-way="direct"]').count(), (count) => count >= 3);
  await first.page.locator('#notices p').first().waitFor({ state: 'detached' }).catch(() => {});
  await until('no notice', () => first.page.locator('#notices p').count(), (count) => count === 0);
  await first.page.screenshot({ path: join(README, 'page-call.png') });
  await first.page.locator('#control-details').click();
  await until('figures', () => first.page.locator('.figures dd').first().innerText(), (text) => /\d/.test(text));
  await until('a few seconds of figures', () => Promise.resolve(first.program.lines.filter((line) => line.includes('"stats"')).length), (count) => count > 24, 60_000);
  await first.page.screenshot({ path: join(README, 'page-details.png') });
});

/** Runs in a page: when the last tile of this peer goes, milliseconds since 1970. @param {string} id @returns {Promise<number>} */
function whenGone(id) {
  return new Promise((resolve) => {
    const look = () => !document.querySelector(`.tile[data-peer="${id}"]`) && resolve(Date.now());
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
}

/** Runs in a page: when this line of chat is seen, milliseconds since 1970. @param {string} text @returns {Promise<number>} */
function whenWritten(text) {
  return new Promise((resolve) => {
    const look = () => [...document.querySelectorAll('.message')].some((it) => it.textContent === text) && resolve(Date.now());
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
}

/** Runs in a page: writes a line of chat, and says when. @param {string} text */
function write(text) {
  const field = document.getElementById('chat-text');
  if (field instanceof HTMLTextAreaElement) field.value = text;
  field?.closest('form')?.requestSubmit();
  return Date.now();
}

/** How many different pictures of somebody are seen in a moment. @param {import('./programs.js').Person} person @param {string} name @returns {Promise<number>} */
function signatures(person, name) {
  return person
    .tile(name)
    .locator('canvas')
    .evaluateAll(async (all) => {
      const [canvas] = all;
      if (!(canvas instanceof HTMLCanvasElement) || canvas.hidden) return 0;
      const small = new OffscreenCanvas(64, 8).getContext('2d', { willReadFrequently: true });
      const seen = new Set();
      for (let look = 0; look < 15; look += 1) {
        small?.drawImage(canvas, 0, 0, 64, 8);
        seen.add(small?.getImageData(0, 0, 64, 8).data.join());
        await new Promise((resolve) => requestAnimationFrame(resolve));
        await new Promise((resolve) => requestAnimationFrame(resolve));
      }
      return seen.size;
    });
}

/** The loudest moment of more than a second, so that a pause between two bursts does not count. @param {import('./programs.js').Person} person @param {number} frequency */
async function quiet(person, frequency) {
  await person.hears([frequency]);
  await person.page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1200)));
  const [level = 0] = await person.hears([frequency]);
  return level;
}

/** @param {string} port @param {string} path @param {Record<string, string>} headers @returns {Promise<number>} */
function status(port, path, headers) {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on('upgrade', (_, socket) => {
      socket.destroy();
      resolve(101);
    });
    asked.on('error', reject);
    asked.end();
  });
}

const UPGRADE = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'bWVpcG8gbWVpcG8gbWVpcA==' };
