/**
 * The chat: what was written, by whom and when; a line to write.
 */
import { find, make } from './dom.js';
import { onLanguage, t } from './i18n.js';

/** @typedef {import('./protocol.js').ChatMessage} ChatMessage */

export class Chat {
  /** @param {(text: string) => void} send */
  constructor(send) {
    this.log = find('chat-log', HTMLElement);
    this.empty = find('chat-empty', HTMLElement);
    this.field = find('chat-text', HTMLTextAreaElement);
    /** @type {Map<string | number, ChatMessage>} */
    this.messages = new Map();
    const form = find('chat-form', HTMLFormElement);
    form.onsubmit = (event) => {
      event.preventDefault();
      const text = this.field.value.trim();
      if (text) send(text);
      this.field.value = '';
    };
    this.field.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    };
    onLanguage(() => this.draw());
  }

  /** @param {ChatMessage} message @returns {boolean} whether it is new */
  add(message) {
    if (this.messages.has(message.id)) return false;
    const newest = [...this.messages.values()].pop();
    this.messages.set(message.id, message);
    if (newest && newest.at > message.at) this.draw();
    else this.append(message, newest);
    return true;
  }

  /** History comes in any order; it is read by time. */
  draw() {
    const sorted = [...this.messages.values()].sort((one, other) => one.at - other.at);
    this.messages = new Map(sorted.map((message) => [message.id, message]));
    this.log.replaceChildren();
    sorted.forEach((message, at) => this.append(message, sorted[at - 1]));
  }

  /** @param {ChatMessage} message @param {ChatMessage | undefined} before */
  append(message, before) {
    this.empty.hidden = true;
    const own = message.peer === null ? ' is-own' : '';
    const goesOn = before && before.peer === message.peer && before.name === message.name && message.at - before.at < TOGETHER_MS;
    const isAtEnd = this.log.scrollTop + this.log.clientHeight > this.log.scrollHeight - 60;
    if (!goesOn) {
      const name = make('b', { text: message.peer === null ? t('chat.you') : message.name });
      const time = make('time', { text: timeOf(message.at), attributes: { datetime: new Date(message.at).toISOString() } });
      this.log.append(make('div', { class: `said${own}` }, name, time));
    }
    this.log.append(make('div', { class: `message${own}` }, ...linked(message.text)));
    if (isAtEnd || own) this.log.scrollTop = this.log.scrollHeight;
  }
}

/** Text as it is, with web addresses as links. @param {string} text @returns {Node[]} */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}。，、；：！？）」』])/).map((part, at) => {
    if (at % 2 === 0) return document.createTextNode(part);
    return make('a', { text: part, attributes: { href: part, target: '_blank', rel: 'noopener noreferrer' } });
  });
}

/** @param {number} at */
function timeOf(at) {
  return new Date(at).toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit' });
}

/** Messages of one person within this time stand under one name. */
const TOGETHER_MS = 120_000;
