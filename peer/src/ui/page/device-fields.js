/**
 * The choice of camera, microphone and speaker, as it stands in the lobby and in the settings.
 */
import { icon, make } from './dom.js';
import { devicesOf } from './devices.js';
import { onLanguage, t } from './i18n.js';

/** @typedef {import('./devices.js').Device} Device */
/** @typedef {'camera' | 'microphone' | 'speaker'} What */
/**
 * @typedef {{camera: Device, microphone: Device, sound: import('./sound.js').Sound, settings: import('./settings.js').Settings}} Parts
 */

/** Fills `root` with three choices and keeps them up to date. @param {HTMLElement} root @param {Parts} parts */
export function deviceFields(root, parts) {
  const { camera, microphone, sound, settings } = parts;
  const selects = {
    camera: make('select', { attributes: { 'data-device': 'camera' } }),
    microphone: make('select', { attributes: { 'data-device': 'microphone' } }),
    speaker: make('select', { attributes: { 'data-device': 'speaker' } }),
  };
  selects.camera.onchange = () => void camera.choose(selects.camera.value);
  selects.microphone.onchange = () => void microphone.choose(selects.microphone.value);
  selects.speaker.onchange = () => settings.change({ speaker: selects.speaker.value });
  const draw = async () => {
    await fill(selects.camera, 'videoinput', camera.id);
    await fill(selects.microphone, 'audioinput', microphone.id);
    await fill(selects.speaker, 'audiooutput', settings.wishes.speaker);
  };
  const build = () => {
    const speaker = sound.canChooseSpeaker ? [field('device.speaker', selects.speaker)] : [];
    const all = [field('device.camera', selects.camera), field('device.microphone', selects.microphone), ...speaker, test(sound)];
    root.className = 'device-fields';
    root.replaceChildren(...all);
    void draw();
  };
  camera.listeners.push(() => void draw());
  microphone.listeners.push(() => void draw());
  navigator.mediaDevices?.addEventListener('devicechange', () => void draw());
  onLanguage(build);
  build();
}

/** @param {HTMLSelectElement} select @param {MediaDeviceKind} kind @param {string} chosen */
async function fill(select, kind, chosen) {
  const devices = await devicesOf(kind);
  const none = devices.length === 0 && kind !== 'audiooutput';
  const first = make('option', { text: t(none ? 'device.none' : 'device.default'), attributes: { value: '' } });
  const options = devices.map((it) => make('option', { text: it.label || it.deviceId.slice(0, 8), attributes: { value: it.deviceId } }));
  const all = [first, ...options];
  const isSame = all.length === select.length && all.every((it, at) => it.text === select.options[at]?.text);
  if (!isSame) select.replaceChildren(...all);
  select.value = devices.some((it) => it.deviceId === chosen) ? chosen : '';
  select.disabled = none;
}

/** @param {import('./i18n.js').Word} name @param {HTMLSelectElement} select */
function field(name, select) {
  return make('label', { class: 'field' }, make('span', { text: t(name) }), select);
}

/** @param {import('./sound.js').Sound} sound */
function test(sound) {
  const text = make('span', { text: t('device.test') });
  const button = make('button', { class: 'quiet', attributes: { type: 'button', 'data-test': 'speaker' } }, icon('speaker'), text);
  button.onclick = async () => {
    button.disabled = true;
    text.textContent = t('device.testing');
    await sound.test();
    text.textContent = t('device.test');
    button.disabled = false;
    button.focus();
  };
  return button;
}
