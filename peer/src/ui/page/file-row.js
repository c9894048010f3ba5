/**
 * One file in the list: its name, how it stands, how far it is, and the one thing that can be done with it.
 */
import { icon, make, setIcon, setText } from './dom.js';
import { label } from './i18n.js';

export class FileRow {
  /** @param {string} name @param {() => void} onPressed */
  constructor(name, onPressed) {
    this.text = make('span', { class: 'faint' });
    this.progress = make('progress', { attributes: { max: '1', 'aria-label': name } });
    this.button = make('button', { class: 'quiet square', attributes: { type: 'button' } }, icon('save'));
    this.button.onclick = onPressed;
    const about = make('div', { class: 'about-file' }, make('b', { text: name }), this.text, this.progress);
    this.element = make('li', { class: 'file' }, icon('file'), about, this.button);
  }

  /** @param {{text: string, sign: string, action: string, done: number | null, isTrouble?: boolean}} how done: of 1; null: not under way */
  show({ text, sign, action, done, isTrouble = false }) {
    setText(this.text, text);
    this.text.classList.toggle('trouble', isTrouble);
    setIcon(this.button, sign);
    label(this.button, action);
    this.progress.hidden = done === null;
    this.progress.value = done ?? 0;
  }

  /** While the person chooses where it shall go. @param {boolean} isBusy */
  setBusy(isBusy) {
    this.button.disabled = isBusy;
  }
}

/** @param {number} bytes */
export function sizeText(bytes) {
  const at = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const format = new Intl.NumberFormat(document.documentElement.lang, { style: 'unit', unit: UNITS[at], unitDisplay: at === 0 ? 'long' : 'short', maximumSignificantDigits: 3 });
  return format.format(bytes / 1000 ** at);
}

/** @param {number} part @param {number} whole */
export function percent(part, whole) {
  const of = whole === 0 ? 1 : part / whole;
  return new Intl.NumberFormat(document.documentElement.lang, { style: 'percent' }).format(of);
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
