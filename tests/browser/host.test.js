/**
 * What a host sees and does, and what a guest is told of it, on the page alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, until } from './chromium.js';
import { Pretend } from './pretend.js';

test('a host is asked before somebody is removed, and may think better of it', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 2, isHost: true });
  await peer.join();
  const { page } = peer;
  await page.locator('#control-people').click();
  await page.locator('.person summary').filter({ hasText: 'Bob' }).click();
  const remove = page.getByRole('button', { name: 'Remove Bob' });
  await remove.click();
  await page.getByRole('dialog', { name: 'Remove Bob from the room?' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'remove-no');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.deepEqual(peer.said('remove'), []);
  await remove.click();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await until('the order', async () => peer.said('remove')[0]?.peer, (id) => id === peer.people[0]?.id);
  assert.deepEqual(peer.errors, []);
});

test('the switches of a host say what they do and follow the rules, not the click', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 2, isHost: true });
  await peer.join();
  const { page } = peer;
  await page.locator('#control-people').click();
  await page.getByRole('button', { name: 'Mute everyone' }).click();
  await until('the order', async () => peer.said('mute-all')[0]?.on, (on) => on === true);
  await page.getByRole('button', { name: 'Lock the room' }).click();
  await until('the order', async () => peer.said('lock')[0]?.on, (on) => on === true);
  assert.equal(await page.locator('#rule-muted').isVisible(), false, 'nothing holds before it is told');
  peer.say({ event: 'rules', muted: true, locked: true, removed: [], silenced: false });
  await page.getByRole('button', { name: 'Let everyone speak' }).click();
  await until('the order', async () => peer.said('mute-all')[1]?.on, (on) => on === false);
  await page.getByRole('button', { name: 'Unlock the room' }).waitFor();
  await until('who is muted', () => page.locator('.tile .is-muted:visible').count(), (count) => count === 2);
});

test('a guest who is silenced sends nothing, reads why, and is heard again as before', async (t) => {
  const peer = await Pretend.open(await browser(t), { people: 1 });
  await peer.join();
  const { page } = peer;
  await until('a microphone that is on', async () => peer.state?.muted, (muted) => muted === false);
  peer.say({ event: 'rules', muted: true, locked: false, removed: [], silenced: true });
  await until('silence', async () => peer.state?.muted, (muted) => muted === true);
  await page.getByText('Only hosts are heard').waitFor();
  await page.getByRole('button', { name: /^The host has muted everyone/ }).click();
  await page.locator('#notices').getByText('nobody hears you').waitFor();
  assert.equal(peer.state?.muted, true);
  assert.equal(await page.locator('#host-bar').count(), 1);
  await page.locator('#control-people').click();
  assert.equal(await page.locator('#host-bar').isVisible(), false, 'a guest has no switches');
  peer.say({ event: 'rules', muted: false, locked: false, removed: [], silenced: false });
  await until('sound', async () => peer.state?.muted, (muted) => muted === false);
  assert.deepEqual(peer.errors, []);
});
