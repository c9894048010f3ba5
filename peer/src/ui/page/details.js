/**
 * The details panel: for each person the last minute of rates, loss, delay and freezes, and what we send.
 */
import { find, make, setText } from './dom.js';
import { Graph } from './graph.js';
import { t } from './i18n.js';

/** @typedef {import('./room.js').Person} Person */
/** @typedef {import('./protocol.js').Stats} Stats */

export class Details {
  /** @param {import('./room.js').Room} room @param {import('./publisher.js').Publisher} publisher */
  constructor(room, publisher) {
    this.room = room;
    this.publisher = publisher;
    this.list = find('details-list', HTMLElement);
    this.empty = find('details-empty', HTMLElement);
    this.yours = find('details-yours', HTMLElement);
    /** @type {Map<string, Figures>} */
    this.cards = new Map();
    this.lastLook = performance.now();
    this.isOpen = false;
  }

  /** Draws what is known; called each second while the panel is open. */
  update() {
    if (!this.isOpen) return;
    for (const [id, card] of this.cards) {
      if (this.room.people.has(id)) continue;
      card.element.remove();
      this.cards.delete(id);
    }
    for (const person of this.room.people.values()) this.card(person.id).show(person);
    this.empty.hidden = this.room.people.size > 0;
    this.showYours();
  }

  /** @param {string} id */
  card(id) {
    const known = this.cards.get(id);
    if (known) return known;
    const card = new Figures();
    this.cards.set(id, card);
    this.list.append(card.element);
    return card;
  }

  showYours() {
    const now = performance.now();
    const seconds = Math.max(0.1, (now - this.lastLook) / 1000);
    this.lastLook = now;
    const lines = [make('h2', { text: t('details.yours') })];
    for (const published of this.publisher.published.values()) {
      if (!published.pictures) continue;
      const { large, smaller } = published.pictures;
      lines.push(...encoderLines(large, seconds));
      if (smaller && !smaller.isResting) lines.push(...encoderLines(smaller, seconds));
    }
    if (lines.length === 1) lines.push(make('p', { class: 'faint', text: t('details.yours-none') }));
    this.yours.replaceChildren(...lines);
  }
}

/** @param {import('./encoder.js').Encoder} encoder @param {number} seconds */
function encoderLines(encoder, seconds) {
  const { pictures, bytes, millis, target, config, isResting } = encoder.takeFigures();
  if (!config) return [];
  const { codec, width, height } = config;
  const rate = Math.round(pictures / seconds);
  const shape = t('details.encoder', { codec, width, height, rate });
  const time = t('unit.ms', { value: (pictures ? millis / pictures : 0).toFixed(1) });
  const speed = t('details.encoder-rate', { actual: bits((bytes * 8) / 1000 / seconds), target: bits(target / 1000), time });
  return [make('p', { text: shape }), make('p', { class: 'faint', text: isResting ? t('details.yours-resting') : speed })];
}

/** The figures of one person. */
class Figures {
  constructor() {
    this.name = make('b');
    this.way = make('span');
    this.graphs = {
      received: new Graph('details.received', 100),
      sent: new Graph('details.sent', 100),
      loss: new Graph('details.loss', 0.05),
      delay: new Graph('details.delay', 50),
    };
    this.table = make('dl', { class: 'figures' });
    const graphs = make('div', { class: 'graphs' }, ...Object.values(this.graphs).map((it) => it.element));
    this.element = make('section', { class: 'person-figures' }, make('h2', {}, this.name, this.way), graphs, this.table);
  }

  /** @param {Person} person */
  show(person) {
    setText(this.name, person.name);
    setText(this.way, t(`way.${person.way ?? 'none'}`));
    const { history } = person;
    const now = history[history.length - 1];
    if (!now) return;
    const { received, sent, loss, delay } = this.graphs;
    received.show([history.map((it) => it.received_kbps)], bits(now.received_kbps));
    sent.show([history.map((it) => it.sent_kbps)], bits(now.sent_kbps));
    loss.show([history.map((it) => it.loss)], percent(now.loss));
    delay.show([history.map((it) => it.latency_ms ?? it.rtt_ms), history.map((it) => it.rtt_ms)], millis(now.latency_ms ?? now.rtt_ms));
    this.showTable(now);
  }

  /** @param {Stats} now */
  showTable(now) {
    const freezes = t('details.freezes-value', { count: now.freezes, time: t('unit.seconds', { value: (now.freeze_ms / 1000).toFixed(1) }) });
    /** @type {[string, string][]} */
    const rows = [
      [t('details.round-trip'), millis(now.rtt_ms)],
      [t('details.capture-to-display'), millis(now.latency_ms)],
      [t('details.freezes'), freezes],
      [t('details.lost'), t('details.lost-value', { lost: now.frames_lost, all: now.frames + now.frames_lost })],
      [t('details.gap'), millis(now.longest_gap_ms)],
      [t('details.buffer'), millis(now.jitter_buffer_ms)],
      [t('details.queue'), millis(now.queue_ms)],
      [t('details.estimate'), bits(now.estimate_kbps)],
      [t('details.repair'), percent(now.parity_share)],
    ];
    const cells = rows.flatMap(([what, value]) => [make('dt', { text: what }), make('dd', { text: value })]);
    this.table.replaceChildren(...cells);
  }
}

/** @param {number} kbps */
function bits(kbps) {
  if (!Number.isFinite(kbps)) return '–';
  return kbps < 1000 ? t('unit.kbps', { value: Math.round(kbps) }) : t('unit.mbps', { value: (kbps / 1000).toFixed(1) });
}

/** @param {number | null} value */
function millis(value) {
  return value === null || value === undefined ? '–' : t('unit.ms', { value: Math.round(value) });
}

/** @param {number} share */
function percent(share) {
  return t('unit.percent', { value: (share * 100).toFixed(1) });
}
