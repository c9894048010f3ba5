/**
 * Debian's Chromium with devices that are not there: a camera and a microphone that play files, no questions asked.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** @typedef {import('playwright-core').BrowserContextOptions & {camera?: string, microphone?: string, args?: string[], isStrict?: boolean}} Options */

/**
 * One browser with a profile of its own; closed when the test is over.
 * @param {import('node:test').TestContext} t @param {Options} options
 */
export async function browser(t, { camera, microphone, args = [], isStrict = false, ...context } = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'meipo-chromium-'));
  const devices = ['--use-fake-device-for-media-stream', ...(isStrict ? [] : ['--use-fake-ui-for-media-stream'])];
  if (camera) devices.push(`--use-file-for-fake-video-capture=${camera}`);
  if (microphone) devices.push(`--use-file-for-fake-audio-capture=${microphone}`);
  const opened = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.MEIPO_CHROMIUM ?? '/usr/bin/chromium',
    args: [...FLAGS, ...devices, ...args],
    viewport: { width: 1280, height: 800 },
    locale: 'en-GB',
    ...context,
  });
  t.after(async () => {
    await opened.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  opened.setDefaultTimeout(PATIENCE_MS);
  return opened;
}

/**
 * A page of it; what goes wrong inside fails the test that opened it.
 * @param {import('playwright-core').BrowserContext} context
 */
export async function newPage(context) {
  const page = await context.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on('pageerror', (error) => errors.push(`${error.name}: ${error.message} ${error.stack}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(`${message.text()} ${JSON.stringify(message.location())}`));
  return { page, errors };
}

/**
 * Asks again until the answer is true; says what it last was when patience ends.
 * @template T @param {string} what @param {() => Promise<T>} ask @param {(answer: T) => boolean} isIt @param {number} patience
 */
export async function until(what, ask, isIt, patience = PATIENCE_MS) {
  const end = performance.now() + patience;
  for (;;) {
    const answer = await ask();
    if (isIt(answer)) return answer;
    if (performance.now() > end) throw new Error(`waited ${patience} ms in vain for ${what}; last: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Enough for a machine that does other things too. */
export const PATIENCE_MS = 60_000;

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
