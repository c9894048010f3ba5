/**
 * What the host of the room may do, and what everybody sees of it: who may be heard, whether the room is locked, who is put out.
 */
import { button, find, setText } from './dom.js';
import { t } from './i18n.js';
import { notice } from './notices.js';

/** @typedef {import('./protocol.js').Rules} Rules */

export class HostControls {
  /** @param {import('./room.js').Room} room @param {(message: import('./protocol.js').PageMessage) => void} send */
  constructor(room, send) {
    this.room = room;
    this.send = send;
    /** Who is about to be removed. */
    this.subject = '';
    button('host-mute').onclick = () => send({ type: 'mute-all', on: !room.rules.muted });
    button('host-lock').onclick = () => send({ type: 'lock', on: !room.rules.locked });
    button('remove-no').onclick = () => this.sheet.close();
    button('remove-yes').onclick = () => this.removeSubject();
  }

  get sheet() {
    return find('sheet-remove', HTMLDialogElement);
  }

  /** Somebody is to be removed, if the host is sure. @param {string} id */
  ask(id) {
    const person = this.room.people.get(id);
    if (!person) return;
    this.subject = id;
    setText(find('remove-title', HTMLElement), t('host.remove-title', { name: person.name }));
    this.sheet.showModal();
    button('remove-no').focus();
  }

  removeSubject() {
    this.sheet.close();
    this.send({ type: 'remove', peer: this.subject });
  }

  /** The host has decided. @param {Rules} rules @param {boolean} isNews whether it was told while we were there */
  take({ muted, locked, silenced }, isNews) {
    const before = this.room.rules;
    this.room.rules = { muted, locked, silenced };
    if (!isNews) return;
    if (muted !== before.muted) notice(t(muted ? (silenced ? 'notice.silenced' : 'notice.muted-all') : 'notice.unmuted-all'));
    if (locked !== before.locked) notice(t(locked ? 'notice.locked' : 'notice.unlocked'));
  }

  draw() {
    const { me, rules } = this.room;
    find('host-bar', HTMLElement).hidden = !me.isHost;
    this.drawSwitch('host-mute', rules.muted, t(rules.muted ? 'host.unmute-all' : 'host.mute-all'));
    this.drawSwitch('host-lock', rules.locked, t(rules.locked ? 'host.unlock' : 'host.lock'));
    find('rule-muted', HTMLElement).hidden = !rules.muted;
    find('rule-locked', HTMLElement).hidden = !rules.locked;
  }

  /** @param {string} id @param {boolean} isOn @param {string} text */
  drawSwitch(id, isOn, text) {
    setText(button(id), text);
    button(id).classList.toggle('is-on', isOn);
  }
}
