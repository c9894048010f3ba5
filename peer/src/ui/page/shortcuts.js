/**
 * Keys that work anywhere in the call, and the sheet that lists them. Space talks while it is held.
 */
import { find, make } from './dom.js';
import { onLanguage, t } from './i18n.js';

/** @typedef {'mute' | 'camera' | 'share' | 'hand' | 'chat' | 'people' | 'details' | 'invite' | 'help'} Action */

/** @type {Record<string, Action>} */
const KEYS = { m: 'mute', v: 'camera', s: 'share', h: 'hand', c: 'chat', p: 'people', d: 'details', i: 'invite', '?': 'help' };

/**
 * @param {{isActive: () => boolean, hasSingleKeys: () => boolean, act: (action: Action) => void, talk: (isHeld: boolean) => void, close: () => void}} call
 */
export function listenForKeys(call) {
  let isTalking = false;
  const stopTalking = () => {
    if (isTalking) call.talk(false);
    isTalking = false;
  };
  document.addEventListener('keydown', (event) => {
    if (!call.isActive() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return call.close();
    if (isTyping(event.target)) return;
    if (event.key === ' ' && !isPressable(event.target)) {
      event.preventDefault();
      if (!isTalking) call.talk(true);
      isTalking = true;
      return;
    }
    const action = KEYS[event.key.toLowerCase()];
    if (!action || event.repeat || !call.hasSingleKeys()) return;
    event.preventDefault();
    call.act(action);
  });
  document.addEventListener('keyup', (event) => event.key === ' ' && stopTalking());
  window.addEventListener('blur', stopTalking);
  // A button that was clicked would take the space bar; after a click nobody needs its focus.
  document.addEventListener('click', (event) => {
    const control = event.target instanceof Element ? event.target.closest('.controls button, .tile-buttons button') : null;
    if (control instanceof HTMLElement && event.detail > 0) control.blur();
  });
  onLanguage(drawHelp);
  drawHelp();
}

function drawHelp() {
  const rows = Object.entries(KEYS).map(([key, action]) => row(key.toUpperCase(), t(`help.${action}`)));
  const all = [row(t('help.space'), t('help.talk')), ...rows, row('Esc', t('help.close'))];
  find('help-list', HTMLElement).replaceChildren(...all.flat());
}

/** @param {string} key @param {string} what */
function row(key, what) {
  return [make('dt', {}, make('kbd', { text: key })), make('dd', { text: what })];
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches('input:not([type="checkbox"]), textarea, select');
}

/** @param {EventTarget | null} target */
function isPressable(target) {
  return target instanceof HTMLElement && target.matches('button, summary, a, input, [role="tab"]');
}
