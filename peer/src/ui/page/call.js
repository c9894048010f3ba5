/**
 * The call: the controls at the bottom and what they do. Where sound and pictures go is the publisher's matter, who is there the
 * room's; here it is decided what is on.
 */
import { button, find, icon, make, setIcon, setText } from './dom.js';
import { label, onLanguage, t } from './i18n.js';
import { inviteBlock, openInvite } from './invite.js';
import { listenForKeys } from './shortcuts.js';
import { keep, kept } from './kept.js';
import { notice } from './notices.js';
import { troubleText } from './lobby.js';
import { Chat } from './chat.js';
import { Details } from './details.js';
import { listenForDrops } from './drop.js';
import { Files } from './files.js';
import { Panel, TABS } from './panel.js';
import { HostControls } from './host-controls.js';
import { People } from './people.js';
import { Stage } from './tiles.js';

/**
 * @typedef {object} Parts
 * @property {import('./connection.js').Connection} connection
 * @property {import('./room.js').Room} room
 * @property {import('./publisher.js').Publisher} publisher
 * @property {import('./devices.js').Device} camera
 * @property {import('./devices.js').Device} microphone
 * @property {import('./sound.js').Sound} sound
 * @property {import('./settings.js').Settings} settings
 */

export class Call {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    const { connection, room, publisher } = parts;
    this.isActive = false;
    this.isMuted = false;
    this.isTalking = false;
    this.toldState = '';
    this.invite = '';
    this.unread = 0;
    this.begunAt = 0;
    this.loudSince = 0;
    /** @type {MediaStream | null} */
    this.screen = null;
    /** @type {MediaStreamTrack | null} */
    this.sentCamera = null;
    /** @type {MediaStreamTrack | null} */
    this.sentMicrophone = null;
    /** Keeps the order in which devices fail and return, to say it once. @type {Map<string, string | null>} */
    this.troubles = new Map();
    this.chat = new Chat((text) => connection.send({ type: 'chat', text }));
    this.files = new Files(room, connection, (name, file) => this.offered(name, file));
    this.host = new HostControls(room, (message) => connection.send(message));
    this.people = new People(room, {
      onVolume: (peer, volume) => connection.send({ type: 'volume', peer, volume }),
      onRemove: (peer) => this.host.ask(peer),
    });
    this.details = new Details(room, publisher);
    this.panel = new Panel((tab) => this.panelChanged(tab));
    this.stage = new Stage(find('tiles', HTMLElement), room, {
      onAbout: (id) => (this.panel.show('people'), this.people.reveal(id)),
      onWanted: (peer, track, wanted) => connection.send({ type: 'want', peer, track, wanted }),
    });
    this.wire();
    onLanguage(() => this.draw());
  }

  wire() {
    const { camera, microphone, settings } = this.parts;
    const icons = { mic: 'mic', camera: 'camera', screen: 'screen', hand: 'hand', chat: 'chat', people: 'people', details: 'details', leave: 'leave' };
    for (const [name, sign] of Object.entries(icons)) button(`control-${name}`).append(icon(sign));
    /** @type {Record<import('./shortcuts.js').Action, () => void>} */
    const actions = {
      mute: () => this.toggleMute(),
      camera: () => this.toggleCamera(),
      share: () => void this.toggleScreen(),
      hand: () => this.toggleHand(),
      chat: () => this.panel.toggle('chat'),
      people: () => this.panel.toggle('people'),
      details: () => this.panel.toggle('details'),
      invite: () => openInvite(this.invite),
      help: () => find('sheet-help', HTMLDialogElement).showModal(),
    };
    button('control-mic').onclick = actions.mute;
    button('control-camera').onclick = actions.camera;
    button('control-screen').onclick = actions.share;
    button('control-hand').onclick = actions.hand;
    for (const tab of TABS) button(`control-${tab}`).onclick = actions[tab];
    button('control-leave').onclick = () => this.leave();
    button('top-invite').onclick = actions.invite;
    button('top-help').onclick = actions.help;
    button('sound-button').onclick = () => void this.parts.sound.wake().then(() => this.draw());
    listenForKeys({
      isActive: () => this.isActive,
      hasSingleKeys: () => settings.wishes.shortcuts,
      act: (action) => actions[action](),
      talk: (isHeld) => this.talk(isHeld),
      close: () => this.panel.close(),
    });
    listenForDrops({ isActive: () => this.isActive, take: (files) => this.offer(files) });
    camera.listeners.push(() => this.isActive && this.devicesChanged());
    microphone.listeners.push(() => this.isActive && this.devicesChanged());
    settings.listeners.push(() => this.draw());
  }

  /** We are in: send what is on. @param {string} invite */
  begin(invite) {
    const { camera, microphone } = this.parts;
    this.invite = invite;
    this.isActive = true;
    this.isMuted = !microphone.isWanted || kept('muted') === 'yes';
    this.begunAt = performance.now();
    this.troubles.set('camera', camera.trouble);
    this.troubles.set('microphone', microphone.trouble);
    find('alone-invite', HTMLElement).replaceChildren(inviteBlock(invite, false));
    this.devicesChanged();
    this.tellState();
    this.files.begin();
  }

  end() {
    this.isActive = false;
    this.stage.ownCamera = null;
    this.sentCamera = null;
    this.sentMicrophone = null;
    this.parts.publisher.stop();
    this.toldState = '';
    this.stopScreen();
    for (const sheet of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (sheet).close();
  }

  leave() {
    this.parts.connection.send({ type: 'leave' });
    this.end();
  }

  /** A device came, went, or was exchanged for another. */
  devicesChanged() {
    const { camera, microphone, publisher } = this.parts;
    if (camera.track !== this.sentCamera) {
      this.sentCamera = camera.track;
      this.stage.ownCamera = camera.track;
      publisher.showPictures('camera', camera.track);
    }
    if (microphone.track !== this.sentMicrophone) {
      this.sentMicrophone = microphone.track;
      publisher.letHear('microphone', microphone.track);
    }
    for (const device of [camera, microphone]) this.tellTrouble(device);
    this.tellState();
  }

  /** @param {import('./devices.js').Device} device */
  tellTrouble(device) {
    const before = this.troubles.get(device.kind) ?? null;
    if (device.trouble === before || device.isStarting) return;
    this.troubles.set(device.kind, device.trouble);
    if (device.trouble) notice(troubleText(device));
    else if (before === 'lost' && device.track) notice(t('device.back', { device: t(`device.${device.kind}`) }));
  }

  toggleMute() {
    const { microphone, room } = this.parts;
    if (room.rules.silenced) return notice(t('call.silenced'));
    this.isMuted = microphone.track ? !this.isMuted : false;
    if (!microphone.track && !microphone.isStarting) void microphone.start();
    this.tellState();
  }

  toggleCamera() {
    const { camera } = this.parts;
    if (camera.track || camera.isStarting) camera.stop();
    else void camera.start();
  }

  /** @param {boolean} isHeld */
  talk(isHeld) {
    if (isHeld && (!this.isMuted || this.parts.room.rules.silenced)) return;
    this.isTalking = isHeld;
    this.tellState();
  }

  toggleHand() {
    const { me } = this.parts.room;
    me.hand = !me.hand;
    this.tellState();
  }

  async toggleScreen() {
    if (this.screen) return this.stopScreen();
    try {
      const video = { frameRate: { ideal: 30 }, width: { max: 2560 }, height: { max: 1440 } };
      const screen = await navigator.mediaDevices.getDisplayMedia({ video, audio: true });
      if (!this.isActive) return screen.getTracks().forEach((track) => track.stop());
      this.screen = screen;
      const [pictures = null] = screen.getVideoTracks();
      pictures?.addEventListener('ended', () => this.stopScreen());
      if (pictures) pictures.contentHint = 'detail';
      this.stage.ownScreen = pictures;
      this.parts.publisher.showPictures('screen', pictures);
      this.parts.publisher.letHear('screen-audio', screen.getAudioTracks()[0] ?? null);
    } catch (error) {
      const isRefused = error instanceof DOMException && error.name === 'NotAllowedError';
      if (!isRefused) notice(t('trouble.screen.failed'));
    }
    this.draw();
  }

  stopScreen() {
    for (const track of this.screen?.getTracks() ?? []) track.stop();
    this.screen = null;
    this.stage.ownScreen = null;
    this.parts.publisher.end('screen');
    this.parts.publisher.end('screen-audio');
    this.draw();
  }

  /** Tells everybody, and ourselves, what is on. */
  tellState() {
    const { room, publisher, camera, microphone } = this.parts;
    const { me } = room;
    me.muted = !microphone.track || room.rules.silenced || (this.isMuted && !this.isTalking);
    me.camera = camera.track !== null;
    publisher.isMuted = me.muted;
    if (this.isActive) {
      keep('muted', this.isMuted ? 'yes' : 'no');
      keep('camera', camera.isWanted ? 'on' : 'off');
      this.sendState({ muted: me.muted, camera: me.camera, hand: me.hand });
    }
    this.draw();
  }

  /** @param {{muted: boolean, camera: boolean, hand: boolean}} state */
  sendState(state) {
    const told = JSON.stringify(state);
    if (told === this.toldState) return;
    this.toldState = told;
    this.parts.connection.send({ type: 'state', ...state });
  }

  /** The host of the room has decided something. @param {import('./protocol.js').Rules} rules */
  obey(rules) {
    if (rules.silenced) this.isTalking = false;
    this.host.take(rules, !this.isEntering);
    this.tellState();
  }

  /** Whether those who were there before us are still being told. */
  get isEntering() {
    return performance.now() - this.begunAt < ENTERING_MS;
  }

  /** @param {import('./protocol.js').ChatMessage} message */
  heard(message) {
    const isNew = this.chat.add(message);
    if (!isNew || message.peer === null || this.panel.open === 'chat') return;
    this.unread += 1;
    this.draw();
  }

  /** @param {File[]} files */
  offer(files) {
    if (this.panel.open !== 'chat') this.panel.show('chat');
    this.files.offer(files);
  }

  /** Somebody offers a file. @param {string} name @param {string} file */
  offered(name, file) {
    if (this.panel.open === 'chat') return;
    if (!this.isEntering) notice(t('notice.file', { name, file }));
    this.unread += 1;
    this.draw();
  }

  /** @param {Record<string, number>} levels @param {number} now */
  levels(levels, now) {
    for (const [id, level] of Object.entries(levels)) {
      const person = this.parts.room.people.get(id);
      if (person && level > SPEAKING) person.spokeAt = now;
    }
  }

  /** Ten times a second. @param {number} now */
  tick(now) {
    if (!this.isActive) return;
    const peak = this.parts.publisher.takePeak();
    const isLoud = peak > LOUD;
    if (isLoud) this.loudSince = now;
    this.stage.markSpeakers(now);
    this.stage.markSelf(!this.parts.room.me.muted && now - this.loudSince < 400 && this.loudSince > 0);
    this.showHint(now);
    find('sound-banner', HTMLElement).hidden = !this.parts.sound.isPaused;
  }

  /** @param {number} now */
  showHint(now) {
    const hint = find('hint', HTMLElement);
    const { silenced } = this.parts.room.rules;
    const isSpokenMuted = (this.isMuted || silenced) && now - this.loudSince < 1500 && this.loudSince > 0;
    hint.hidden = !this.isTalking && !isSpokenMuted;
    if (this.isTalking) setText(hint, t('call.push-to-talk'));
    else if (isSpokenMuted) setText(hint, t(silenced ? 'call.silenced' : 'call.talking-muted'));
  }

  /** @param {import('./panel.js').Tab | null} tab */
  panelChanged(tab) {
    this.details.isOpen = tab === 'details';
    if (tab === 'chat') {
      this.unread = 0;
      find('chat-text', HTMLTextAreaElement).focus();
      this.chat.log.scrollTop = this.chat.log.scrollHeight;
    }
    this.details.update();
    this.draw();
  }

  draw() {
    const { room, settings } = this.parts;
    const { me } = room;
    const control = show;
    const micText = room.rules.silenced ? 'call.silenced' : me.muted ? 'control.unmute' : 'control.mute';
    control('mic', { isOff: me.muted, sign: me.muted ? 'mic-off' : 'mic', text: t(micText) });
    control('camera', {
      isOff: !me.camera,
      sign: me.camera ? 'camera' : 'camera-off',
      text: t(me.camera ? 'control.camera-off' : 'control.camera-on'),
    });
    control('screen', { isOn: this.screen !== null, text: t(this.screen ? 'control.unshare' : 'control.share') });
    button('control-screen').hidden = !('getDisplayMedia' in (navigator.mediaDevices ?? {}));
    control('hand', { isOn: me.hand, text: t(me.hand ? 'control.hand-down' : 'control.hand-up') });
    for (const tab of TABS) control(tab, { isOn: this.panel.open === tab, text: t(`control.${tab}`) });
    control('leave', { text: t('control.leave') });
    this.drawUnread();
    this.stage.isMirrored = settings.wishes.mirror;
    this.stage.update();
    this.people.update();
    this.host.draw();
    this.files.draw();
    find('alone', HTMLElement).hidden = room.people.size > 0;
  }

  drawUnread() {
    const control = button('control-chat');
    control.querySelector('.badge')?.remove();
    if (this.unread === 0) return;
    control.append(make('span', { class: 'badge', text: String(this.unread), attributes: { 'aria-hidden': 'true' } }));
    label(control, `${t('control.chat')}, ${t('chat.unread', { count: this.unread })}`);
  }
}

/** @param {string} name @param {{isOn?: boolean, isOff?: boolean, sign?: string, text: string}} what */
function show(name, { isOn, isOff, sign, text }) {
  const control = button(`control-${name}`);
  label(control, text);
  if (isOn !== undefined) control.setAttribute('aria-pressed', String(isOn));
  control.classList.toggle('is-off', isOff ?? false);
  if (sign) setIcon(control, sign);
}

/** Who is told in this time was there before us: not news. */
const ENTERING_MS = 2000;
/** Level of a peer, and peak of our own microphone, above which somebody speaks. */
const SPEAKING = 0.02;
const LOUD = 0.06;
