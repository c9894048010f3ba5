/**
 * Debian's Firefox with devices that are not there, spoken to by WebDriver BiDi: for what the page does otherwise than in Chromium.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { launch } from 'puppeteer-core';
import { PATIENCE_MS, until } from './chromium.js';
import { listen } from './programs.js';

const PROGRAM = process.env.MEIPO_FIREFOX ?? '/usr/bin/firefox-esr';

/** Why Firefox cannot be tested here, or false. */
export const isMissing = existsSync(PROGRAM) ? false : `Firefox is not installed (${PROGRAM})`;

/**
 * A page of Firefox; the browser is closed when the test is over. What it downloads and needs lies in the folder.
 * @param {import('node:test').TestContext} t @param {string} folder
 */
export async function firefoxPage(t, folder) {
  const browser = await launch({
    browser: 'firefox',
    executablePath: PROGRAM,
    headless: true,
    extraPrefsFirefox: { ...PREFERENCES, 'browser.download.dir': folder },
    env: { ...process.env, PULSE_SERVER: await loudspeaker(t, folder) },
  });
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  /** @type {string[]} */
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.evaluateOnNewDocument(listen);
  // The fake microphone has a steady tone, which counts as noise.
  await page.evaluateOnNewDocument(() => sessionStorage.setItem('meipo.wishes', '{"processing":false}'));
  return { page, errors };
}

/** A sound server with a loudspeaker that is not there: without one Firefox plays nothing. @param {import('node:test').TestContext} t @param {string} folder */
async function loudspeaker(t, folder) {
  const socket = join(folder, 'sound');
  const modules = [`module-native-protocol-unix socket=${socket} auth-anonymous=1`, 'module-null-sink sink_name=ear'];
  const line = ['-n', '--daemonize=no', '--exit-idle-time=-1', ...modules.flatMap((it) => ['-L', it])];
  const server = spawn('pulseaudio', line, { env: { PATH: process.env.PATH, HOME: folder, XDG_RUNTIME_DIR: folder }, stdio: 'ignore' });
  t.after(() => server.kill());
  await until('a sound server', async () => existsSync(socket), (is) => is);
  return `unix:${socket}`;
}

const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'browser.download.folderList': 2,
  'browser.download.useDownloadDir': true,
  'browser.download.always_ask_before_handling_new_types': false,
  'intl.accept_languages': 'en-GB',
};
