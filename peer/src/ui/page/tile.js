/**
 * One tile: somebody's picture or their initials, their name, whether they are muted, and the way media takes to them.
 */
import { icon, make, setIcon, setText } from './dom.js';
import { label, t } from './i18n.js';

/**
 * What a tile shows now.
 * @typedef {object} View
 * @property {string} id whose
 * @property {string} name
 * @property {string} caption
 * @property {boolean} isOwn
 * @property {boolean} isScreen
 * @property {boolean} isMuted
 * @property {boolean} hasHand
 * @property {boolean} isPinned
 * @property {boolean} isMirrored
 * @property {import('./protocol.js').Way | null} way
 * @property {MediaStreamTrack | null} own our own picture
 * @property {import('./decoder.js').Decoder | null} decoder somebody's picture
 */

export class Tile {
  /**
   * @param {{onPin: () => void, onAbout: () => void}} actions
   */
  constructor(actions) {
    /** @type {HTMLCanvasElement | HTMLVideoElement | null} */
    this.picture = null;
    /** @type {import('./decoder.js').Decoder | null} */
    this.decoder = null;
    this.initials = make('span');
    this.avatar = make('div', { class: 'avatar', attributes: { 'aria-hidden': 'true' } }, this.initials);
    this.caption = make('span');
    this.mutedIcon = icon('mic-off');
    this.mutedIcon.classList.add('is-muted');
    this.mutedText = make('span', { class: 'sr-only' });
    this.raised = make('div', { class: 'raised', attributes: { role: 'img' } }, icon('hand'));
    this.wayText = make('span', { class: 'way' });
    this.about = make('button', { class: 'about', attributes: { type: 'button' } }, icon('lock'), icon('none'), this.wayText);
    this.pin = make('button', { class: 'pin', attributes: { type: 'button' } }, icon('pin'));
    this.about.onclick = actions.onAbout;
    this.pin.onclick = actions.onPin;
    const name = make('div', { class: 'name' });
    name.append(this.mutedIcon, this.caption, this.mutedText);
    const buttons = make('div', { class: 'tile-buttons' }, this.pin, this.about);
    this.element = make('div', { class: 'tile is-new', attributes: { role: 'listitem' } }, this.avatar, name, this.raised, buttons);
    this.element.addEventListener('animationend', () => this.element.classList.remove('is-new'), { once: true });
  }

  /** @param {View} view */
  show(view) {
    const { element } = this;
    element.dataset.peer = view.id;
    element.classList.toggle('is-screen', view.isScreen);
    this.avatar.className = `avatar tone-${tone(view.id)}`;
    setText(this.initials, initials(view.name));
    setText(this.caption, view.caption);
    this.mutedIcon.toggleAttribute('hidden', !view.isMuted);
    setText(this.mutedText, view.isMuted ? t('call.muted') : '');
    this.raised.hidden = !view.hasHand;
    label(this.raised, t('call.hand'));
    this.showWay(view);
    label(this.pin, t(view.isPinned ? 'call.unpin' : 'call.pin', { name: view.caption }));
    this.pin.setAttribute('aria-pressed', String(view.isPinned));
    setIcon(this.pin, view.isPinned ? 'unpin' : 'pin');
    if (view.own) this.showOwn(view.own, view.isMirrored);
    else this.showDecoder(view.decoder);
  }

  /** @param {import('./layout.js').Place} place @param {boolean} isFloating */
  move({ x, y, width, height }, isFloating) {
    const { style, classList } = this.element;
    style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    style.width = `${Math.round(width)}px`;
    style.height = `${Math.round(height)}px`;
    classList.toggle('is-floating', isFloating);
  }

  remove() {
    if (this.decoder) this.decoder.canvas = null;
    if (this.picture instanceof HTMLVideoElement) this.picture.srcObject = null;
    this.element.remove();
  }

  /** @param {View} view */
  showWay(view) {
    this.about.hidden = view.isOwn || view.isScreen;
    const way = view.way ?? 'none';
    this.about.querySelectorAll('use')[1]?.setAttribute('href', `#i-${way}`);
    setText(this.wayText, t(`way.${way}`));
    label(this.about, `${t('call.about', { name: view.name })}: ${t('call.encrypted')}, ${t(`way.${way}`)}`);
    this.element.dataset.way = way;
  }

  /** @param {MediaStreamTrack} track @param {boolean} isMirrored */
  showOwn(track, isMirrored) {
    if (!(this.picture instanceof HTMLVideoElement)) {
      const video = make('video');
      video.muted = true;
      video.autoplay = true;
      video.playsInline = true;
      this.replacePicture(video);
    }
    const video = /** @type {HTMLVideoElement} */ (this.picture);
    video.classList.toggle('mirrored', isMirrored);
    const shown = /** @type {MediaStream | null} */ (video.srcObject)?.getTracks()[0];
    if (shown === track) return;
    video.srcObject = new MediaStream([track]);
    video.play().catch(() => {});
  }

  /** @param {import('./decoder.js').Decoder | null} decoder */
  showDecoder(decoder) {
    if (decoder === this.decoder && (decoder || !this.picture)) return;
    if (this.decoder) this.decoder.canvas = null;
    this.decoder = decoder;
    if (!decoder) return this.replacePicture(null);
    // The canvas stays hidden, and the initials seen, until there is something on it.
    const canvas = make('canvas', { attributes: { 'aria-hidden': 'true' } });
    canvas.hidden = true;
    this.replacePicture(canvas);
    decoder.canvas = canvas;
    decoder.onShape = () => (canvas.hidden = false);
  }

  /** @param {HTMLCanvasElement | HTMLVideoElement | null} picture */
  replacePicture(picture) {
    this.picture?.remove();
    this.picture = picture;
    if (picture) this.avatar.after(picture);
  }
}

/** One of eight colours, the same for a person everywhere. @param {string} id */
export function tone(id) {
  let sum = 0;
  for (const sign of id) sum = (sum * 31 + (sign.codePointAt(0) ?? 0)) % 9973;
  return sum % 8;
}

/** One or two letters, one sign of a Chinese name. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/);
  const first = [...(words[0] ?? '')][0] ?? '?';
  const isLatin = /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]/u.test(first);
  const last = words.length > 1 && isLatin ? ([...(words[words.length - 1] ?? '')][0] ?? '') : '';
  return (first + last).toUpperCase();
}
