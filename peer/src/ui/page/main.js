/**
 * The page of `peer join`: puts the parts together and says which screen is shown. What the peer tells arrives here first.
 */
import { button, find, setText } from './dom.js';
import { onLanguage, speak, t, translate } from './i18n.js';
import { kept } from './kept.js';
import { notice } from './notices.js';
import { Call } from './call.js';
import { Connection } from './connection.js';
import { Device } from './devices.js';
import { deviceFields } from './device-fields.js';
import { Lobby } from './lobby.js';
import { Publisher } from './publisher.js';
import { Room } from './room.js';
import { Settings } from './settings.js';
import { settingsSheet } from './settings-sheet.js';
import { Sound } from './sound.js';

/** @typedef {'over' | 'lobby' | 'call'} Screen */
/** @typedef {import('./i18n.js').Word} Word */

class Page {
  constructor() {
    speak();
    this.settings = new Settings();
    this.sound = new Sound();
    this.camera = new Device('camera', (id) => this.settings.cameraConstraints(id));
    this.microphone = new Device('microphone', (id) => this.settings.microphoneConstraints(id));
    this.connection = new Connection({
      onMessage: (message) => this.message(message),
      onEvent: (event) => this.event(event),
      onPicture: (picture) => this.room.picture(picture),
      onPiece: (piece) => this.call.files.take(piece),
      onSound: (samples) => this.sound.play(samples),
      onLost: (state) => this.lost(state),
    });
    this.room = new Room((peer, track) => this.connection.send({ type: 'need-key', peer, track }));
    this.publisher = new Publisher(this.connection, this.sound, this.settings);
    this.publisher.onFailure = (reason) => notice(t('trouble.encoder', { reason }));
    this.call = new Call(this);
    this.lobby = new Lobby(this.camera, this.microphone, this.settings, (name) => this.join(name));
    this.invite = '';
    this.hasBegun = false;
    /** @type {{title: Word, hint?: Word, reason?: string, button?: Word} | null} */
    this.overText = null;
    /** @type {{word: Word, reason: string} | null} */
    this.bannerText = null;
    /** @type {() => void} */
    this.stopListening = () => {};
    this.wire();
    this.connection.open();
  }

  wire() {
    for (const closer of document.querySelectorAll('[data-close]')) {
      closer.addEventListener('click', () => closer.closest('dialog')?.close());
    }
    for (const sheet of document.querySelectorAll('dialog')) {
      sheet.addEventListener('click', (event) => event.target === sheet && sheet.close());
    }
    button('top-settings').onclick = () => find('sheet-settings', HTMLDialogElement).showModal();
    button('over-button').onclick = () => this.useHere();
    document.addEventListener('pointerdown', () => void this.sound.wake(), { once: true });
    document.addEventListener('keydown', () => void this.sound.wake(), { once: true });
    this.settings.listeners.push((changed) => this.wished(changed));
    this.microphone.listeners.push(() => this.listenInLobby());
    onLanguage(() => this.draw());
    translate(document);
    setInterval(() => this.call.tick(performance.now()), 100);
  }

  /** @param {import('./protocol.js').PeerMessage} message */
  message(message) {
    switch (message.type) {
      case 'welcome':
        return this.welcome(message);
      case 'refused':
        return this.over({ title: 'over.refused', hint: 'over.refused-hint', reason: message.message });
      case 'replaced':
        return this.over({ title: 'over.replaced', hint: 'over.replaced-hint', button: 'over.use-here' });
      case 'failed':
        return this.over({ title: 'over.failed', hint: 'over.gone-hint', reason: message.message });
      case 'excluded':
        return this.over({ title: `over.${message.why}`, hint: `over.${message.why}-hint` });
      case 'left':
        return this.over({ title: 'over.left', hint: 'over.left-hint' });
      case 'lane':
        return void this.room.lanes.set(message.lane, { peer: message.peer, track: message.track });
      case 'encode':
        return this.publisher.obey(message);
      case 'key':
        return this.publisher.wantKey(message.track);
      case 'levels':
        return this.call.levels(message.levels, performance.now());
      case 'state':
        return this.state(message);
      case 'chat':
        return this.call.heard(message);
      case 'file':
        return this.call.files.hear(message);
      case 'pong':
        return;
    }
  }

  /** @param {import('./protocol.js').PeerEvent} event */
  event(event) {
    switch (event.event) {
      case 'joined':
        return this.joined(event.id, event.name);
      case 'peer-joined':
        if (!this.room.people.has(event.peer) && !this.call.isEntering) notice(t('notice.joined', { name: event.name }));
        this.room.enter(event.peer, event.name, event.safety_number, event.host ?? false);
        break;
      case 'peer-left':
        this.room.leave(event.peer);
        notice(t(`notice.${event.reason}`, { name: event.name }));
        break;
      case 'rules':
        return this.call.obey(event);
      case 'track': {
        const isNew = this.room.track(event);
        if (isNew && event.source === 'screen' && event.kind === 'video') notice(t('notice.sharing', { name: event.name }));
        break;
      }
      case 'track-ended':
        this.room.endTrack(event.peer, event.track);
        break;
      case 'path': {
        const person = this.room.people.get(event.peer);
        if (person) Object.assign(person, { way: event.kind, rtt: event.rtt_ms ?? person.rtt });
        break;
      }
      case 'stats':
        this.room.stats(event);
        this.call.details.update();
        return this.call.people.update();
      case 'rendezvous-lost':
        return this.banner(event.final ? 'banner.rendezvous-final' : 'banner.rendezvous', event.reason);
      case 'rendezvous-back':
        this.banner(null);
        return notice(t('notice.rendezvous-back'));
      case 'error':
        return notice(event.name ? `${event.name}: ${event.message}` : event.message);
      default:
        return;
    }
    this.call.draw();
  }

  /** @param {import('./protocol.js').Welcome} welcome */
  welcome(welcome) {
    this.settings.begin(welcome.video);
    this.publisher.begin(welcome.next_track);
    this.invite = welcome.invite;
    this.room.me.isHost = welcome.host ?? false;
    this.banner(null);
    if (this.call.isActive) this.call.end();
    this.call.files.forget();
    this.room.clear();
    this.lobby.begin(welcome.room, welcome.name);
    setText(find('call-room', HTMLElement), welcome.room);
    if (!this.hasBegun) this.begin();
    if (!welcome.in_call) this.show('lobby');
    if (!this.hasBegun) this.camera.isWanted = kept('camera') !== 'off';
    this.hasBegun = true;
    for (const device of [this.camera, this.microphone]) if (device.isWanted && !device.track) void device.start();
  }

  begin() {
    const parts = { camera: this.camera, microphone: this.microphone, sound: this.sound, settings: this.settings };
    deviceFields(find('lobby-device-fields', HTMLElement), parts);
    deviceFields(find('settings-device-fields', HTMLElement), parts);
    settingsSheet(this.settings, this.camera);
  }

  /** @param {string} name */
  join(name) {
    void this.sound.wake();
    this.connection.send({ type: 'join', name });
  }

  /** @param {string} id @param {string} name */
  joined(id, name) {
    Object.assign(this.room.me, { id, name });
    if (!this.call.isActive) {
      this.stopListening();
      this.call.begin(this.invite);
      this.show('call');
    }
    this.call.draw();
  }

  /** @param {import('./protocol.js').StateMessage} state */
  state({ peer, muted, hand }) {
    const person = this.room.people.get(peer);
    if (!person) return;
    if (hand && !person.hand && !this.call.isEntering) notice(t('notice.hand', { name: person.name }));
    Object.assign(person, { muted, hand });
    this.call.draw();
  }

  /** @param {'broken' | 'gone'} state */
  lost(state) {
    if (state === 'broken') return this.banner('banner.peer');
    this.over({ title: 'over.gone', hint: 'over.gone-hint' });
  }

  useHere() {
    this.over({ title: 'connecting' });
    this.connection.open();
  }

  /** The call cannot go on in this page. @param {{title: Word, hint?: Word, reason?: string, button?: Word}} text */
  over(text) {
    if (this.call.isActive) this.call.end();
    this.stopListening();
    this.camera.rest();
    this.microphone.rest();
    this.room.clear();
    this.banner(null);
    this.overText = text;
    this.show('over');
  }

  /** @param {Word | null} word @param {string} reason */
  banner(word, reason = '') {
    this.bannerText = word && { word, reason };
    this.draw();
  }

  /** @param {Screen} screen */
  show(screen) {
    if (screen !== 'over') this.overText = null;
    for (const id of ['over', 'lobby', 'call']) find(id, HTMLElement).hidden = id !== screen;
    document.body.dataset.screen = screen;
    this.draw();
    if (screen === 'lobby') this.lobby.name.focus();
    if (screen === 'over' && this.overText?.button) button('over-button').focus();
  }

  draw() {
    const banner = find('banner', HTMLElement);
    banner.hidden = !this.bannerText;
    setText(banner, this.bannerText ? t(this.bannerText.word, { reason: this.bannerText.reason }) : '');
    const { title, hint, reason, button: action } = this.overText ?? { title: /** @type {Word} */ ('connecting') };
    setText(find('over-title', HTMLElement), t(title));
    setText(find('over-hint', HTMLElement), hint ? t(hint) : '');
    setText(find('over-reason', HTMLElement), reason ?? '');
    button('over-button').hidden = !action;
    setText(button('over-button'), action ? t(action) : '');
    document.title = this.room.me.name ? `${find('call-room', HTMLElement).textContent} · meipo` : t('app.title');
  }

  /** @param {(keyof import('./settings.js').Wishes)[]} changed */
  wished(changed) {
    const has = (/** @type {(keyof import('./settings.js').Wishes)[]} */ ...keys) => keys.some((key) => changed.includes(key));
    if (has('width', 'height', 'rate') && this.camera.isWanted) void this.camera.start();
    if (has('processing') && this.microphone.isWanted) void this.microphone.start();
    if (has('speaker')) void this.sound.speakTo(this.settings.wishes.speaker);
  }

  /** The level in the lobby; in the call the publisher listens. */
  listenInLobby() {
    this.stopListening();
    const { track } = this.microphone;
    this.lobby.showLevel(0);
    if (!track || this.call.isActive) return;
    void this.sound.wake();
    let peak = 0;
    this.stopListening = this.sound.capture(track, (block) => {
      peak = Math.max(block.peak, peak * 0.9);
      this.lobby.showLevel(peak);
    });
  }
}

new Page();
