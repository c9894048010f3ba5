/**
 * The side panel with its three tabs: chat, people, details. One is open, or none.
 */
import { button, find } from './dom.js';

/** @typedef {'chat' | 'people' | 'details'} Tab */
/** @type {Tab[]} */
export const TABS = ['chat', 'people', 'details'];

export class Panel {
  /** @param {(tab: Tab | null) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Tab | null} */
    this.open = null;
    /** @type {Tab} the one that was open last */
    this.last = 'chat';
    this.root = find('panel', HTMLElement);
    button('panel-close').onclick = () => this.close();
    for (const tab of TABS) {
      button(`tab-${tab}`).onclick = () => this.show(tab);
      button(`tab-${tab}`).onkeydown = (event) => this.step(event, tab);
    }
    this.draw();
  }

  /** @param {Tab} tab */
  toggle(tab) {
    if (this.open === tab) this.close();
    else this.show(tab);
  }

  /** @param {Tab} tab */
  show(tab) {
    this.open = tab;
    this.last = tab;
    this.draw();
    this.onChange(tab);
  }

  close() {
    if (!this.open) return;
    const hadFocus = this.root.contains(document.activeElement);
    const control = button(`control-${this.open}`);
    this.open = null;
    this.draw();
    this.onChange(null);
    if (hadFocus) (control.offsetParent ? control : button('control-chat')).focus();
  }

  draw() {
    this.root.hidden = this.open === null;
    for (const tab of TABS) {
      const isOpen = tab === (this.open ?? this.last);
      const head = button(`tab-${tab}`);
      head.setAttribute('aria-selected', String(isOpen));
      head.tabIndex = isOpen ? 0 : -1;
      find(`pane-${tab}`, HTMLElement).hidden = !isOpen;
    }
  }

  /** Arrow keys go from tab to tab. @param {KeyboardEvent} event @param {Tab} tab */
  step(event, tab) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length] ?? tab;
    this.show(next);
    button(`tab-${next}`).focus();
  }
}
