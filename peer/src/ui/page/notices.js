/**
 * What just happened, said once and briefly at the top of the window, and to screen readers.
 */
import { find, make } from './dom.js';

/** @param {string} text */
export function notice(text) {
  const list = find('notices', HTMLElement);
  const line = make('p', { text });
  list.append(line);
  while (list.children.length > MOST) list.firstElementChild?.remove();
  setTimeout(() => line.remove(), SHOWN_MS);
}

const MOST = 3;
const SHOWN_MS = 5000;
