/**
 * The lobby: see and hear yourself, choose devices, say your name, join. Nothing has been sent to anybody yet.
 */
import { button, find, icon, make, setIcon, setText } from './dom.js';
import { label, onLanguage, t } from './i18n.js';
import { keep, kept } from './kept.js';

/** @typedef {import('./devices.js').Device} Device */
/** @typedef {import('./devices.js').Shape} Shape */

export class Lobby {
  /**
   * @param {Device} camera @param {Device} microphone @param {import('./settings.js').Settings} settings
   * @param {(name: string) => void} onJoin
   */
  constructor(camera, microphone, settings, onJoin) {
    this.camera = camera;
    this.microphone = microphone;
    this.settings = settings;
    this.room = '';
    this.name = find('lobby-name', HTMLInputElement);
    this.video = find('preview-video', HTMLVideoElement);
    this.level = find('lobby-level', HTMLMeterElement);
    this.submit = button('lobby-join');
    button('lobby-mic').append(icon('mic'));
    button('lobby-camera').append(icon('camera'));
    button('lobby-mic').onclick = () => toggle(microphone);
    button('lobby-camera').onclick = () => toggle(camera);
    find('lobby-form', HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      const name = this.name.value.trim();
      this.complain(!name);
      if (!name) return this.name.focus();
      keep('name', name);
      this.setJoining(true);
      onJoin(name);
    };
    this.name.oninput = () => this.complain(false);
    camera.listeners.push(() => this.draw());
    microphone.listeners.push(() => this.draw());
    settings.listeners.push(() => this.draw());
    onLanguage(() => this.draw());
  }

  /** @param {string} room @param {string} suggestedName */
  begin(room, suggestedName) {
    this.room = room;
    this.name.value = kept('name') ?? suggestedName;
    this.setJoining(false);
    this.draw();
  }

  /** @param {boolean} isJoining */
  setJoining(isJoining) {
    this.submit.disabled = isJoining;
    this.submit.textContent = t(isJoining ? 'lobby.joining' : 'lobby.join');
  }

  /** @param {number} peak 0 to 1 */
  showLevel(peak) {
    // The ear hears ratios: 60 dB from nothing to full.
    const decibels = peak > 0 ? 20 * Math.log10(peak) : -60;
    this.level.value = Math.max(0, Math.min(1, 1 + decibels / 60));
  }

  draw() {
    setText(find('lobby-room', HTMLElement), t('room', { room: this.room }));
    showControl('lobby-mic', this.microphone, 'mic', ['control.mute', 'control.unmute']);
    showControl('lobby-camera', this.camera, 'camera', ['control.camera-off', 'control.camera-on']);
    this.drawPreview();
    setText(find('lobby-granted', HTMLElement), grantedText(this.settings.wishes, this.camera.granted));
    const troubles = [troubleText(this.camera), troubleText(this.microphone)];
    if (!('VideoEncoder' in window)) troubles.push(t('lobby.no-webcodecs'));
    const lines = troubles.filter(Boolean).map((text) => make('p', { text }));
    find('lobby-troubles', HTMLElement).replaceChildren(...lines);
  }

  drawPreview() {
    const { track, isStarting } = this.camera;
    const shown = /** @type {MediaStream | null} */ (this.video.srcObject)?.getTracks()[0] ?? null;
    if (shown !== track) this.video.srcObject = track && new MediaStream([track]);
    this.video.hidden = !track;
    this.video.classList.toggle('mirrored', this.settings.wishes.mirror);
    setText(find('preview-off', HTMLElement), track ? '' : t(isStarting ? 'lobby.camera-starting' : 'lobby.camera-off'));
  }

  /** @param {boolean} isWrong */
  complain(isWrong) {
    this.name.closest('.field')?.classList.toggle('is-wrong', isWrong);
    this.name.setAttribute('aria-invalid', String(isWrong));
    setText(find('lobby-name-hint', HTMLElement), t(isWrong ? 'lobby.name-missing' : 'lobby.name-hint'));
  }
}

/** What was asked of the camera and what it gives. @param {Shape} asked @param {Shape | null} granted */
export function grantedText(asked, granted) {
  if (!granted) return '';
  const { width, height, rate } = granted;
  const isAsAsked = width === asked.width && height === asked.height && rate === asked.rate;
  if (isAsAsked) return t('lobby.granted', { width, height, rate });
  return t('lobby.granted-other', { width, height, rate, askedWidth: asked.width, askedHeight: asked.height, askedRate: asked.rate });
}

/** @param {Device} device */
export function troubleText(device) {
  return device.trouble ? t(`trouble.${device.kind}.${device.trouble}`) : '';
}

/** @param {Device} device */
function toggle(device) {
  if (device.isWanted && !device.trouble) device.stop();
  else void device.start();
}

/** @param {string} id @param {Device} device @param {string} name @param {[import('./i18n.js').Word, import('./i18n.js').Word]} words */
function showControl(id, device, name, [offWord, onWord]) {
  const isOn = device.isWanted && !device.trouble;
  const control = button(id);
  control.classList.toggle('is-off', !isOn);
  setIcon(control, isOn ? name : `${name}-off`);
  label(control, t(isOn ? offWord : onWord));
}
