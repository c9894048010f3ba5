/**
 * The page alone: how it looks, what it says, and what it does when devices fail. Nobody is at the other end but the test.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { browser, until } from './chromium.js';
import { Pretend } from './pretend.js';

const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
const SHOTS = fileURLToPath(new URL('shots', import.meta.url));
await mkdir(SHOTS, { recursive: true });

test('the lobby shows the camera and the microphone before anything is sent', async (t) => {
  const peer = await Pretend.open(await browser(t));
  const { page } = peer;
  await until('a picture', () => page.locator('#preview-video').evaluate((it) => /** @type {HTMLVideoElement} */ (it).videoWidth), (width) => width > 0);
  await until('a level', () => page.locator('#lobby-level').evaluate((it) => /** @type {HTMLMeterElement} */ (it).value), (level) => level > 0.2);
  assert.match(await page.locator('#lobby-granted').innerText(), /320×240/);
  assert.equal(peer.pictures + peer.sounds, 0);
  assert.deepEqual(peer.heard.map((it) => it.type), ['hello']);
  await page.screenshot({ path: `${SHOTS}/lobby.png` });
  assert.deepEqual(peer.errors, []);
});

test('joined, camera and microphone are published and told', async (t) => {
  const peer = await Pretend.open(await browser(t));
  await peer.join();
  await until('pictures', async () => peer.pictures, (count) => count > 5);
  await until('sound', async () => peer.loudSounds, (count) => count > 0);
  const pictures = peer.said('publish').find((it) => it.source === 'camera');
  assert.match(pictures.codec, /^avc1\.42e0/);
  assert.deepEqual([pictures.width, pictures.height], [320, 240]);
  assert.ok(peer.said('publish').some((it) => it.source === 'microphone'));
  assert.deepEqual(peer.state, { type: 'state', muted: false, camera: true, hand: false });
  assert.deepEqual(peer.errors, []);
});

test('muted, no sound is sent; held, the space bar talks', async (t) => {
  const peer = await Pretend.open(await browser(t));
  await peer.join();
  await until('sound', async () => peer.loudSounds, (count) => count > 0);
  await peer.page.locator('#control-mic').click();
  await until('told', async () => peer.state.muted, (muted) => muted);
  const settled = await until('silence', async () => {
    const before = peer.sounds;
    await peer.page.waitForFunction(() => new Promise((resolve) => setTimeout(() => resolve(true), 300)));
    return { sounds: peer.sounds, grew: peer.sounds - before };
  }, ({ grew }) => grew === 0);
  await peer.page.keyboard.down(' ');
  await until('told', async () => peer.state.muted, (muted) => !muted);
  await until('sound again', async () => peer.sounds, (sounds) => sounds > settled.sounds + 10);
  await peer.page.keyboard.up(' ');
  await until('told', async () => peer.state.muted, (muted) => muted);
});

test('without MediaStreamTrackProcessor pictures are sent too', async (t) => {
  const context = await browser(t);
  await context.addInitScript(() => Reflect.deleteProperty(window, 'MediaStreamTrackProcessor'));
  const peer = await Pretend.open(context);
  await peer.join();
  await until('pictures', async () => peer.pictures, (count) => count > 5);
});

test('where H.264 is missing another codec is taken', async (t) => {
  const context = await browser(t);
  await context.addInitScript(() => {
    const original = VideoEncoder.isConfigSupported;
    VideoEncoder.isConfigSupported = async (config) => (config.codec.startsWith('avc1') ? { supported: false, config } : original.call(VideoEncoder, config));
  });
  const peer = await Pretend.open(context);
  await peer.join();
  await until('pictures', async () => peer.pictures, (count) => count > 2);
  assert.match(peer.said('publish').find((it) => it.source === 'camera').codec, /^vp09/);
});

test('every picture can be a key frame, and a new rate makes none', async (t) => {
  const peer = await Pretend.open(await browser(t), { video: { keyframe_interval: null } });
  /** @type {number[]} */
  const keys = [];
  const media = peer.media.bind(peer);
  peer.media = (message) => {
    if (message[0] === 1) keys.push((message[1] ?? 0) & 1);
    media(message);
  };
  await peer.join();
  await until('pictures', async () => peer.pictures, (count) => count > 5);
  const { track } = peer.said('publish').find((it) => it.source === 'camera');
  keys.length = 0;
  peer.say({ type: 'encode', track, bitrate_kbps: 120, layers: 2 });
  await until('pictures', async () => keys.length, (count) => count > 8);
  assert.ok(!keys.includes(1), 'a new rate made a key frame');
  peer.say({ type: 'key', track });
  await until('a key frame', async () => keys, (all) => all.includes(1));
  await peer.page.locator('#top-settings').click();
  await peer.page.locator('#set-keys').selectOption('0');
  await until('key frames only', async () => keys.slice(-6), (last) => last.length === 6 && !last.includes(0));
  peer.say({ type: 'encode', track: peer.said('publish').pop().track, bitrate_kbps: 120, layers: 2, rest: true });
});

test('a low rate makes smaller pictures at once, a good one makes them whole again after a while', async (t) => {
  const peer = await Pretend.open(await browser(t), { video: { width: 640, height: 480, rate: 30 } });
  await peer.join();
  const widths = () => peer.said('publish').filter((it) => it.codec).map((it) => it.width);
  await until('whole pictures', async () => widths(), (all) => all.includes(640));
  const { track } = peer.said('publish').find((it) => it.codec);
  peer.say({ type: 'encode', track, bitrate_kbps: 60, layers: 2 });
  await until('smaller pictures', async () => widths().at(-1), (width) => width === 320);
  peer.say({ type: 'encode', track, bitrate_kbps: 1500, layers: 2 });
  await until('whole pictures again', async () => widths().at(-1), (width) => width === 640);
  assert.deepEqual(peer.errors, []);
});

test('a smaller size is made beside the whole one while somebody needs it', async (t) => {
  const peer = await Pretend.open(await browser(t));
  /** @type {Map<number, boolean[]>} whether pictures were key frames, by track */
  const keys = new Map();
  const media = peer.media.bind(peer);
  peer.media = (message) => {
    const bytes = Buffer.from(message);
    if (bytes[0] === 1) keys.set(bytes.readUInt16LE(2), [...(keys.get(bytes.readUInt16LE(2)) ?? []), bytes.readUInt8(1) % 2 === 1]);
    media(message);
  };
  const count = (/** @type {number} */ track) => keys.get(track)?.length ?? 0;
  await peer.join();
  const offer = () => peer.said('publish').find((it) => it.smaller_of);
  await until('an offer', async () => offer(), Boolean);
  const [whole, small] = [offer().smaller_of, offer().track];
  await until('pictures', async () => count(whole), (it) => it > 5);
  assert.equal(count(small), 0, 'nobody needs it');
  peer.say({ type: 'encode', track: small, bitrate_kbps: 100, layers: 1, rest: false });
  await until('smaller pictures', async () => count(small), (it) => it > 5);
  assert.deepEqual(keys.get(small)?.slice(0, 3), [true, false, false]);
  peer.say({ type: 'key', track: small });
  await until('a key frame', async () => keys.get(small)?.lastIndexOf(true) ?? 0, (at) => at > 0);
  assert.equal(keys.get(whole)?.lastIndexOf(true), 0, 'the whole size goes on as it was');
  peer.say({ type: 'encode', track: small, bitrate_kbps: 0, layers: 1, rest: true });
  const [wholes, smalls] = [count(whole), count(small)];
  await until('more pictures', async () => count(whole), (it) => it > wholes + 10);
  assert.ok(count(small) <= smalls + 3, 'it rests');
  assert.deepEqual(peer.errors, []);
});

test('who refuses camera and microphone reads why, and joins all the same', async (t) => {
  const context = await browser(t);
  await context.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = async () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  });
  const peer = await Pretend.open(context, { people: 2 });
  await peer.page.getByText('does not let this page use your camera').waitFor();
  await peer.page.getByText('does not let this page use your microphone').waitFor();
  await peer.page.screenshot({ path: `${SHOTS}/refused-devices.png` });
  await peer.join();
  await until('told', async () => peer.state, (state) => state?.muted && !state.camera);
  assert.deepEqual(peer.errors, []);
});

test('a camera that is unplugged is told, and used again when it returns', async (t) => {
  const context = await browser(t);
  await context.addInitScript(() => {
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wish) => {
      const stream = await original(wish);
      if (wish?.video) Object.assign(window, { camera: stream.getVideoTracks()[0] });
      return stream;
    };
  });
  const peer = await Pretend.open(context, { people: 1 });
  await peer.join();
  await until('the camera', async () => peer.state?.camera, (camera) => camera);
  await peer.page.evaluate(() => {
    const { camera } = /** @type {any} */ (window);
    camera.stop();
    camera.dispatchEvent(new Event('ended'));
  });
  await peer.page.locator('#notices').getByText('Your camera was disconnected').waitFor();
  await until('told', async () => peer.state.camera, (camera) => !camera);
  await peer.page.evaluate(() => navigator.mediaDevices.dispatchEvent(new Event('devicechange')));
  await peer.page.getByText('Your camera is there again').waitFor();
  await until('told', async () => peer.state.camera, (camera) => camera);
  assert.deepEqual(peer.errors, []);
});

test('a page that is loaded anew is in the call again, and still muted', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 2 });
  await peer.join();
  await until('told', async () => peer.state, Boolean);
  await peer.page.keyboard.press('m');
  await until('told', async () => peer.state.muted, Boolean);
  const before = peer.said('state').length;
  await peer.page.reload();
  await peer.page.locator('#call').waitFor();
  assert.equal(peer.said('hello')[1].token, 'again');
  await until('told again', async () => peer.said('state').slice(before), (told) => told.some((it) => it.camera));
  assert.ok(peer.said('state').slice(before).every((it) => it.muted));
  const numbers = peer.said('publish').map((it) => `${it.source} ${it.track}`);
  assert.equal(new Set(peer.said('publish').map((it) => it.track)).size, new Set(numbers).size, numbers.join());
});

test('a connection that breaks is made again under the same number, and a person asks under another', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 1 });
  const { page } = peer;
  await peer.join();
  const visits = () => peer.said('hello').map((it) => it.visit);
  await peer.socket?.close();
  await until('a hello', async () => visits().length, (count) => count === 2);
  await page.locator('.tile').nth(1).waitFor();
  peer.former = visits()[0];
  await peer.socket?.close();
  await page.getByRole('heading', { name: 'The call is open in another page' }).waitFor();
  assert.deepEqual(visits(), [visits()[0], visits()[0], visits()[0]]);
  await page.getByRole('button', { name: 'Use it here' }).click();
  await page.locator('#call').waitFor();
  assert.notEqual(visits()[3], visits()[0]);
  assert.deepEqual(peer.errors, []);
});

test('sixteen tiles fill the stage and none covers another', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 15 });
  await peer.join();
  const { page } = peer;
  await until('tiles', () => page.locator('.tile').count(), (count) => count === 16);
  for (const size of [{ width: 1280, height: 800 }, { width: 360, height: 640 }, { width: 900, height: 500 }]) {
    await page.setViewportSize(size);
    await until('room for all', () => overlaps(page), (found) => found.length === 0);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await until('room for all', () => overlaps(page), (found) => found.length === 0);
  await page.screenshot({ path: `${SHOTS}/sixteen.png` });
  await page.locator('.tile').nth(3).hover();
  await page.locator('.tile').nth(3).locator('.pin').click();
  await until('a large one', () => page.locator('.tile').nth(3).evaluate((it) => it.clientWidth), (width) => width > 700);
  await page.screenshot({ path: `${SHOTS}/pinned.png` });
});

test('at 360 pixels nothing sticks out', async (t) => {
  const context = await browser(t, { viewport: { width: 360, height: 640 } });
  for (const locale of ['', 'zh-Hant']) {
    const peer = await Pretend.open(context, { people: 3 });
    const { page } = peer;
    await page.evaluate((language) => sessionStorage.setItem('meipo.language', language), locale);
    await page.reload();
    await page.locator('#lobby').waitFor();
    await fits(page, `lobby${locale}`);
    await peer.join();
    await page.locator('.tile').nth(3).waitFor();
    await fits(page, `call${locale}`);
    for (const tab of ['chat', 'people', 'details']) {
      if (tab === 'chat') await showFiles(peer);
      await page.locator(`#tab-${tab}`).click();
      if (tab === 'people') await page.locator('.person summary').first().click();
      if (tab === 'details') for (let second = 0; second < 30; second += 1) peer.figures(second);
      await fits(page, `${tab}${locale}`);
    }
    await page.locator('#panel-close').click();
    for (const sheet of ['settings', 'invite']) {
      await page.locator(`#top-${sheet}`).click();
      await fits(page, `${sheet}${locale}`);
      await page.keyboard.press('Escape');
    }
    assert.deepEqual(peer.errors, []);
  }
});

test('the page speaks the language of the browser, and no word is missing', async (t) => {
  const english = await Pretend.open(await browser(t), { people: 1 });
  await english.page.getByRole('button', { name: 'Join' }).waitFor();
  const chinese = await Pretend.open(await browser(t, { locale: 'zh-TW' }), { people: 1 });
  await chinese.page.getByRole('button', { name: '加入' }).waitFor();
  assert.equal(await chinese.page.locator('html').getAttribute('lang'), 'zh-Hant');
  const missing = await chinese.page.evaluate(async () => {
    const [{ en }, { zh }] = await Promise.all(['/words-en.js', '/words-zh.js'].map((name) => import(name)));
    const used = [...document.querySelectorAll('[data-t], [data-t-label], [data-t-placeholder]')].flatMap((it) =>
      ['data-t', 'data-t-label', 'data-t-placeholder'].map((name) => it.getAttribute(name)).filter(Boolean),
    );
    const places = (/** @type {string} */ text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort().join();
    const words = new Set([...Object.keys(en), ...Object.keys(zh), ...used]);
    return [...words].filter((word) => !word || !en[word] || !zh[word] || places(en[word]) !== places(zh[word]));
  });
  assert.deepEqual(missing, []);
  await chinese.join();
  await chinese.page.locator('#control-chat').click();
  await chinese.page.screenshot({ path: `${SHOTS}/call-zh.png` });
  const latin = await chinese.page.locator('#call').innerText();
  assert.doesNotMatch(latin, /Mute|Leave|Camera|Chat|Direct/);
});

test('everything can be done with the keyboard', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 2 });
  const { page } = peer;
  await page.locator('#lobby').waitFor();
  await until('focus', () => focused(page), (id) => id === 'lobby-name');
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('Alice');
  await page.keyboard.press('Enter');
  await page.locator('#call').waitFor();
  assert.deepEqual(peer.said('join'), [{ type: 'join', name: 'Alice' }]);
  await until('told', async () => peer.state, (state) => state && !state.muted);
  await page.keyboard.press('m');
  await until('muted', async () => peer.state.muted, Boolean);
  await page.keyboard.press('h');
  await until('hand', async () => peer.state.hand, Boolean);
  await page.keyboard.press('c');
  await page.keyboard.type('m is not mute here');
  await page.keyboard.press('Enter');
  await page.getByText('m is not mute here').waitFor();
  await page.keyboard.press('Escape');
  await until('focus', () => focused(page), (id) => id === 'control-chat');
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await page.keyboard.press('Escape');
  const reached = new Set();
  for (let press = 0; press < 40; press += 1) {
    await page.keyboard.press('Tab');
    reached.add(await focused(page));
  }
  for (const control of ['mic', 'camera', 'screen', 'hand', 'chat', 'people', 'details', 'leave']) assert.ok(reached.has(`control-${control}`), control);
  await page.keyboard.press('p');
  await page.locator('.person summary').first().focus();
  await page.keyboard.press('Enter');
  await page.getByText('69830 86269 98773 80326 06259 36264').first().waitFor();
  await page.getByRole('slider', { name: 'Volume of Bob' }).focus();
  await page.keyboard.press('ArrowLeft');
  await until('volume', async () => peer.said('volume').pop()?.volume, (volume) => volume < 1);
  await page.locator('#control-leave').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'You have left the call' }).waitFor();
});

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  test(`axe finds nothing wrong in the ${colorScheme} colours`, async (t) => {
    const peer = await Pretend.open(await browser(t, { colorScheme }), { people: 4 });
    const { page } = peer;
    await page.locator('#lobby').waitFor();
    await page.locator('.lobby-devices summary').click();
    await axe(page, 'lobby');
    await peer.join();
    await page.locator('.tile').nth(4).waitFor();
    peer.say({ event: 'rendezvous-lost', reason: 'silence', final: false });
    await page.locator('#banner').waitFor();
    await axe(page, 'call');
    await page.screenshot({ path: `${SHOTS}/call-${colorScheme}.png` });
    await showFiles(peer);
    await page.locator('#chat-text').focus();
    await page.keyboard.type('Hello, see https://example.org/agenda');
    await page.keyboard.press('Enter');
    await page.locator('.message').waitFor();
    await axe(page, 'chat');
    await page.screenshot({ path: `${SHOTS}/chat-${colorScheme}.png` });
    await page.locator('#tab-people').click();
    await page.locator('.person summary').first().click();
    await axe(page, 'people');
    await page.locator('#tab-details').click();
    for (let second = 0; second < 60; second += 1) peer.figures(second);
    await page.locator('.figures').first().waitFor();
    await axe(page, 'details');
    for (const sheet of ['settings', 'invite', 'help']) {
      await page.locator(`#top-${sheet}`).click();
      await axe(page, sheet);
      await page.screenshot({ path: `${SHOTS}/${sheet}-${colorScheme}.png` });
      await page.keyboard.press('Escape');
    }
    peer.say({ type: 'replaced' });
    await page.getByRole('button', { name: 'Use it here' }).waitFor();
    await axe(page, 'replaced');
    assert.deepEqual(peer.errors, []);
  });
}

test('each end of the call has its sentence', async (t) => {
  const context = await browser(t);
  for (const [message, sentence] of /** @type {[object, string][]} */ ([
    [{ type: 'refused', message: 'the token is used up' }, 'This page is not let in'],
    [{ type: 'failed', message: 'no rendezvous' }, 'The call is over'],
    [{ type: 'left' }, 'You have left the call'],
    [{ type: 'excluded', why: 'removed' }, 'The host has removed you from the room'],
    [{ type: 'excluded', why: 'locked' }, 'The host has locked the room'],
    [{ type: 'replaced' }, 'The call is open in another page'],
  ])) {
    const peer = await Pretend.open(context);
    await peer.join();
    peer.say(message);
    await peer.page.getByRole('heading', { name: sentence }).waitFor();
    await peer.page.close();
  }
});

test('pictures nobody sees are not asked for', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 2 });
  await peer.join();
  const [bob] = peer.people;
  assert.ok(bob);
  peer.say({ event: 'track', peer: bob.id, name: bob.name, track: 1, codec: 'avc1.42e01e', source: 'camera', kind: 'video', width: 320, height: 240, frame_rate: 15 });
  await until('wanted', async () => peer.said('want').at(-1)?.wanted ?? true, (wanted) => wanted);
  await peer.page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await until('not wanted', async () => peer.said('want').at(-1), (want) => want?.track === 1 && want.wanted === false);
});

/** @param {import('playwright-core').Page} page */
function focused(page) {
  return page.evaluate(() => document.activeElement?.id ?? '');
}

/** Pairs of tiles that cover each other, and tiles that stick out. @param {import('playwright-core').Page} page */
function overlaps(page) {
  return page.evaluate(() => {
    const stage = document.getElementById('tiles')?.getBoundingClientRect() ?? new DOMRect();
    const boxes = [...document.querySelectorAll('.tile')].map((it) => it.getBoundingClientRect());
    const out = boxes.filter((it) => it.left < stage.left - 1 || it.right > stage.right + 1 || it.top < stage.top - 1 || it.bottom > stage.bottom + 1 || it.width < 60);
    const crossed = boxes.flatMap((one, at) =>
      boxes.slice(at + 1).filter((it) => one.left < it.right - 1 && it.left < one.right - 1 && one.top < it.bottom - 1 && it.top < one.bottom - 1),
    );
    return [...out, ...crossed].map((it) => it.toJSON());
  });
}

/** Nothing visible reaches beyond the window's sides. @param {import('playwright-core').Page} page @param {string} name */
async function fits(page, name) {
  await page.screenshot({ path: `${SHOTS}/narrow-${name}.png` });
  const out = await page.evaluate(() => {
    const visible = [...document.querySelectorAll('body *')].filter((it) => it instanceof HTMLElement && it.offsetParent && !it.closest('.sr-only, .tile *'));
    return visible
      .filter((it) => it.getBoundingClientRect().right > innerWidth + 1 || it.getBoundingClientRect().left < -1)
      .map((it) => `${it.tagName}#${it.id}.${it.className}`);
  });
  assert.deepEqual(out, [], name);
}

/** Opens the chat, with a file of ours and three of somebody else: offered, on its way, and failed. @param {Pretend} peer */
async function showFiles(peer) {
  const { page, people: [bob] } = peer;
  const offers = { a: 'holiday pictures of the whole family, 2026.zip', b: 'minutes.pdf', c: '會議紀錄.odt' };
  await page.evaluate(() => void delete (/** @type {any} */ (window).showSaveFilePicker));
  await page.locator('#control-chat').click();
  await page.locator('#file-chooser').setInputFiles({ name: 'mine.txt', mimeType: 'text/plain', buffer: Buffer.from('mine') });
  for (const [id, name] of Object.entries(offers)) peer.say({ type: 'file', news: 'offered', peer: bob?.id, id, name, size: 12_345_678 });
  for (const [number, id] of ['b', 'c'].entries()) {
    await page.locator('.file').filter({ hasText: offers[/** @type {'b' | 'c'} */ (id)] }).getByRole('button').click();
    await until('a wish', async () => peer.said('file').some((wish) => wish.wish === 'fetch' && wish.id === id), (is) => is);
    peer.say({ type: 'file', news: 'begun', peer: bob?.id, id, number });
  }
  peer.piece(0, 0, 5_000_000);
  peer.say({ type: 'file', news: 'failed', peer: bob?.id, id: 'c', reason: 'it is offered no longer' });
  await page.locator('.file .trouble').waitFor();
  await until('progress', () => page.locator('.file progress:visible').count(), (count) => count === 1);
}

/** @param {import('playwright-core').Page} page @param {string} where */
async function axe(page, where) {
  // Colours count when what appears has appeared.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((it) => Number.isFinite(it.effect?.getComputedTiming().endTime ?? 0)).map((it) => it.finished)));
  // A script element would be stopped by the page's own policy; this one is not the page's.
  await page.evaluate(AXE);
  const found = await page.evaluate(() => /** @type {any} */ (window).axe.run(document, { resultTypes: ['violations'] }));
  const violations = found.violations.map((/** @type {any} */ it) => `${it.id}: ${it.nodes.map((/** @type {any} */ node) => `${node.html} ${node.failureSummary}`).join(' | ')}`);
  assert.deepEqual(violations, [], where);
}
