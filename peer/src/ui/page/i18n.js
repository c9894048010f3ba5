/**
 * The page's languages: English and Traditional Chinese, chosen from the browser or in the settings.
 *
 * An element with `data-t` shows that word; `data-t-label` names it for screen readers and as a tooltip. Both follow a change of
 * the language; what scripts write is written anew by those who listen.
 */
import { en } from './words-en.js';
import { zh } from './words-zh.js';
import { keep, kept } from './kept.js';

/** @typedef {keyof typeof en} Word */
/** @typedef {'en' | 'zh-Hant'} Language */

/** @type {Record<Language, Record<Word, string>>} */
const WORDS = { en, 'zh-Hant': zh };

/** @type {(() => void)[]} */
const listeners = [];
/** @type {Language} */
let language = 'en';

/**
 * @param {Word} word
 * @param {Record<string, string | number>} [values]
 */
export function t(word, values = {}) {
  return WORDS[language][word].replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Takes the language somebody chose, or the first of the browser's that we speak. */
export function speak() {
  const chosen = kept('language');
  language = isLanguage(chosen) ? chosen : fromBrowser(navigator.languages);
  document.documentElement.lang = language;
  translate(document);
  for (const listener of listeners) listener();
}

/** @param {string} chosen a language, or empty for the browser's */
export function choose(chosen) {
  keep('language', chosen);
  speak();
}

/** @param {() => void} listener called after each change of the language */
export function onLanguage(listener) {
  listeners.push(listener);
}

/** @param {readonly string[]} languages @returns {Language} */
export function fromBrowser(languages) {
  for (const wanted of languages) {
    if (/^zh\b/i.test(wanted)) return 'zh-Hant';
    if (/^en\b/i.test(wanted)) return 'en';
  }
  return 'en';
}

/** @param {ParentNode} root */
export function translate(root) {
  for (const element of root.querySelectorAll('[data-t]')) element.textContent = t(word(element, 'data-t'));
  for (const element of root.querySelectorAll('[data-t-label]')) label(element, t(word(element, 'data-t-label')));
  for (const element of root.querySelectorAll('[data-t-placeholder]')) {
    element.setAttribute('placeholder', t(word(element, 'data-t-placeholder')));
  }
}

/**
 * Names an element for screen readers and for the pointer.
 * @param {Element} element
 * @param {string} text
 */
export function label(element, text) {
  if (element.getAttribute('aria-label') === text) return;
  element.setAttribute('aria-label', text);
  if (element instanceof HTMLButtonElement) element.title = text;
}

/** @param {Element} element @param {string} attribute @returns {Word} */
function word(element, attribute) {
  return /** @type {Word} */ (element.getAttribute(attribute));
}

/** @param {string | null} text @returns {text is Language} */
function isLanguage(text) {
  return text === 'en' || text === 'zh-Hant';
}
