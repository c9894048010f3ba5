/**
 * The settings sheet: what a person may wish of pictures, sound and the page. Each change works at once.
 */
import { find, make, setText } from './dom.js';
import { CODECS } from './codecs.js';
import { grantedText } from './lobby.js';
import { choose, onLanguage, t } from './i18n.js';
import { kept } from './kept.js';

/** @typedef {import('./settings.js').Settings} Settings */

/** @param {Settings} settings @param {import('./devices.js').Device} camera */
export function settingsSheet(settings, camera) {
  const draw = () => drawAll(settings, camera);
  select('set-size').onchange = () => {
    const [width = 640, height = 480] = select('set-size').value.split('x').map(Number);
    settings.change({ width, height });
  };
  select('set-rate').onchange = () => settings.change({ rate: Number(select('set-rate').value) });
  select('set-bitrate').onchange = () => settings.change({ bitrate_kbps: orNull(select('set-bitrate').value) });
  select('set-keys').onchange = () => settings.change({ keyframe_interval: orNull(select('set-keys').value) });
  select('set-codec').onchange = () => {
    const value = select('set-codec').value;
    settings.change({ codec: CODECS.find((name) => name === value) ?? null });
  };
  for (const name of /** @type {const} */ (['mirror', 'processing', 'shortcuts'])) {
    const box = find(`set-${name}`, HTMLInputElement);
    box.onchange = () => settings.change({ [name]: box.checked });
  }
  select('set-language').onchange = () => choose(select('set-language').value);
  settings.listeners.push(draw);
  camera.listeners.push(draw);
  onLanguage(draw);
  draw();
}

/** @param {Settings} settings @param {import('./devices.js').Device} camera */
function drawAll({ wishes }, camera) {
  options('set-size', withOwn(SIZES, `${wishes.width}x${wishes.height}`), `${wishes.width}x${wishes.height}`, (it) => it.replace('x', '×'));
  options('set-rate', withOwn(RATES, `${wishes.rate}`), `${wishes.rate}`, (it) => it);
  const bitrate = `${wishes.bitrate_kbps ?? ''}`;
  options('set-bitrate', withOwn(BITRATES, bitrate), bitrate, (it) => (it ? t('unit.kbps', { value: it }) : t('settings.bitrate-none')));
  const keys = `${wishes.keyframe_interval ?? ''}`;
  options('set-keys', withOwn(KEYS, keys), keys, keysText);
  options('set-codec', ['', ...CODECS], wishes.codec ?? '', (it) => (it ? (CODEC_NAMES[it] ?? it) : t('settings.codec-auto')));
  options('set-language', ['', 'en', 'zh-Hant'], kept('language') ?? '', (it) => LANGUAGES[it] ?? t('settings.language-auto'));
  for (const name of /** @type {const} */ (['mirror', 'processing', 'shortcuts'])) {
    find(`set-${name}`, HTMLInputElement).checked = wishes[name];
  }
  setText(find('settings-granted', HTMLElement), grantedText(wishes, camera.granted));
}

/** @param {string} seconds */
function keysText(seconds) {
  if (seconds === '') return t('settings.keys-asked');
  return Number(seconds) === 0 ? t('settings.keys-all') : t('settings.keys-every', { seconds });
}

/** @param {string} id @param {string[]} values @param {string} chosen @param {(value: string) => string} text */
function options(id, values, chosen, text) {
  const list = select(id);
  list.replaceChildren(...values.map((value) => make('option', { text: text(value), attributes: { value } })));
  list.value = chosen;
}

/** A value from the flags that is not among the usual ones is offered first. @param {string[]} values @param {string} own */
function withOwn(values, own) {
  return values.includes(own) ? values : [own, ...values];
}

/** @param {string} id */
const select = (id) => find(id, HTMLSelectElement);
/** @param {string} value */
const orNull = (value) => (value === '' ? null : Number(value));

const SIZES = ['320x240', '640x360', '640x480', '1280x720', '1920x1080'];
const RATES = ['10', '15', '24', '30', '60'];
const BITRATES = ['', '200', '500', '1000', '2000', '4000', '8000'];
const KEYS = ['', '10', '5', '2', '1', '0'];
/** @type {Record<string, string>} */
const CODEC_NAMES = { h264: 'H.264', vp9: 'VP9', av1: 'AV1', vp8: 'VP8' };
/** @type {Record<string, string>} */
const LANGUAGES = { en: 'English', 'zh-Hant': '繁體中文' };
