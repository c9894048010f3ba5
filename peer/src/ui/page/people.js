/**
 * The list of people: who is muted, who raises a hand, the way to each, their volume, and the safety number to compare.
 */
import { find, icon, make, setText } from './dom.js';
import { initials, tone } from './tile.js';
import { label, t } from './i18n.js';

/** @typedef {import('./room.js').Person} Person */

export class People {
  /**
   * @param {import('./room.js').Room} room
   * @param {{onVolume: (peer: string, volume: number) => void, onRemove: (peer: string) => void}} actions
   */
  constructor(room, actions) {
    this.list = find('people', HTMLUListElement);
    this.room = room;
    this.actions = actions;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
  }

  update() {
    const { me, people } = this.room;
    for (const [id, row] of this.rows) {
      if (id === 'me' || people.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    this.row('me', null).show({ name: me.name, caption: t('call.you', { name: me.name }), id: me.id, isMuted: me.muted, hasHand: me.hand, isHost: me.isHost, mayRemove: false }, null);
    for (const person of people.values()) {
      const { name, id, hand, isHost } = person;
      const mayRemove = me.isHost && !isHost;
      this.row(id, person).show({ name, caption: name, id, isMuted: !this.room.isHeard(person), hasHand: hand, isHost, mayRemove }, person);
    }
  }

  /** Opens what is known about somebody. @param {string} id */
  reveal(id) {
    const row = this.rows.get(id);
    if (!(row?.element.firstElementChild instanceof HTMLDetailsElement)) return;
    row.element.firstElementChild.open = true;
    row.element.querySelector('summary')?.focus();
    row.element.scrollIntoView({ block: 'nearest' });
  }

  /** @param {string} id @param {Person | null} person */
  row(id, person) {
    const known = this.rows.get(id);
    if (known) return known;
    const { onVolume, onRemove } = this.actions;
    const row = new Row(person, { onVolume: (volume) => onVolume(id, volume), onRemove: () => onRemove(id) });
    this.rows.set(id, row);
    this.list.append(row.element);
    return row;
  }
}

class Row {
  /** @param {Person | null} person null for ourselves @param {{onVolume: (volume: number) => void, onRemove: () => void}} actions */
  constructor(person, actions) {
    this.dot = make('span', { attributes: { 'aria-hidden': 'true' } });
    this.name = make('span', { class: 'who' });
    this.marks = make('span', { class: 'marks' });
    this.remove = make('button', { class: 'quiet danger', attributes: { type: 'button' } });
    this.remove.onclick = actions.onRemove;
    /** @type {(person: Person) => void} */
    this.showMore = () => {};
    const summary = make(person ? 'summary' : 'div', {}, this.dot, this.name, this.marks);
    const inside = person ? make('details', {}, summary, this.more(person, actions.onVolume)) : make('div', { class: 'self' }, summary);
    this.element = make('li', { class: 'person' }, inside);
    this.shown = '';
  }

  /**
   * @param {{name: string, caption: string, id: string, isMuted: boolean, hasHand: boolean, isHost: boolean, mayRemove: boolean}} what
   * @param {Person | null} person
   */
  show({ name, caption, id, isMuted, hasHand, isHost, mayRemove }, person) {
    this.dot.className = `dot tone-${tone(id)}`;
    setText(this.dot, initials(name));
    setText(this.name, caption);
    if (person) this.showMore(person);
    this.remove.hidden = !mayRemove;
    setText(this.remove, t('host.remove', { name }));
    const way = person?.way ?? 'none';
    const state = [isMuted, hasHand, isHost, way, document.documentElement.lang].join();
    if (state === this.shown) return;
    this.shown = state;
    this.marks.replaceChildren();
    if (isHost) this.mark('host', t('people.host'));
    if (hasHand) this.mark('hand', t('people.hand'));
    if (isMuted) this.mark('mic-off', t('people.muted'));
    if (!person) return;
    this.mark('lock', t('call.encrypted'));
    this.mark(way, t(`way.${way}`));
  }

  /** @param {string} name @param {string} text */
  mark(name, text) {
    const svg = icon(name);
    svg.removeAttribute('aria-hidden');
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', text);
    this.marks.append(svg);
  }

  /** @param {Person} person @param {(volume: number) => void} onVolume */
  more(person, onVolume) {
    const way = make('p');
    const range = make('input', { attributes: { type: 'range', min: '0', max: '2', step: '0.05' } });
    range.value = String(person.volume);
    range.oninput = () => {
      person.volume = Number(range.value);
      onVolume(person.volume);
    };
    const title = make('p', { class: 'faint' });
    const number = make('p', { class: 'safety' });
    const hint = make('p', { class: 'faint' });
    this.showMore = (current) => {
      const kind = current.way ?? 'none';
      const long = kind === 'none' ? t('way.none') : t(`way.${kind}-long`);
      const rtt = current.rtt === null ? '' : ` ${t('details.round-trip')}: ${t('unit.ms', { value: Math.round(current.rtt) })}`;
      setText(way, long + rtt);
      label(range, t('people.volume', { name: current.name }));
      setText(title, t('people.safety'));
      setText(number, current.safety);
      setText(hint, t('people.safety-hint'));
    };
    const volume = make('div', { class: 'volume' });
    volume.append(icon('speaker'), range);
    return make('div', { class: 'more' }, volume, way, make('div', {}, title, number, hint), this.remove);
  }
}
