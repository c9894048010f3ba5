/**
 * Files: what we offer and what others do, in a list above the line one writes.
 *
 * What is dropped, pasted or chosen is offered to everybody and sent only to those who save it. The peer program asks for the pieces of ours
 * when they may go, and gives us the pieces of theirs in order, no faster than we say we have put them away.
 */
import { find } from './dom.js';
import { FileRow, percent, sizeText } from './file-row.js';
import { onLanguage, t } from './i18n.js';
import { notice } from './notices.js';
import { pieceMessage } from './protocol.js';
import { MOST_IN_MEMORY, openSink } from './sink.js';

/** @typedef {import('./protocol.js').FileNews} FileNews */
/** @typedef {{number: number, file: File, arrived: Map<string, number>, row: FileRow}} Own */
/**
 * @typedef {object} Offered
 * @property {string} peer
 * @property {string} id
 * @property {string} name
 * @property {number} size
 * @property {string} from the name of who offers it
 * @property {'offered' | 'coming' | 'saved' | 'gone'} state
 * @property {string} trouble why it was not saved
 * @property {import('./sink.js').Sink | null} sink
 * @property {number} taken bytes that are put away
 * @property {Promise<void>} writing
 * @property {FileRow} row
 */

export class Files {
  /**
   * @param {import('./room.js').Room} room @param {import('./connection.js').Connection} connection
   * @param {(name: string, file: string) => void} onOffered
   */
  constructor(room, connection, onOffered) {
    this.room = room;
    this.connection = connection;
    this.onOffered = onOffered;
    this.list = find('files', HTMLUListElement);
    this.last = 0;
    /** @type {Map<number, Own>} */
    this.own = new Map();
    /** @type {Map<string, Offered>} */
    this.offered = new Map();
    /** Whose pieces come under a number. @type {Map<number, Offered>} */
    this.coming = new Map();
    const chooser = find('file-chooser', HTMLInputElement);
    find('file-attach', HTMLButtonElement).onclick = () => chooser.click();
    chooser.onchange = () => {
      this.offer([...(chooser.files ?? [])]);
      chooser.value = '';
    };
    onLanguage(() => this.draw());
  }

  /** We are in, perhaps again: what we offer is offered anew, what was on its way to us is not. */
  begin() {
    for (const it of this.own.values()) {
      it.arrived.clear();
      this.tellOffer(it);
    }
    this.draw();
  }

  /** Forgets what others offer: it is told again. */
  forget() {
    for (const [key, it] of [...this.offered]) {
      if (it.state === 'coming') notice(t('file.interrupted', { file: it.name }));
      this.fail(it, '');
      if (it.state !== 'saved') this.drop(key, it);
    }
  }

  /** @param {File[]} files */
  offer(files) {
    for (const file of files) {
      if (this.own.size >= MOST_OFFERS) return notice(t('file.too-many', { count: MOST_OFFERS }));
      const number = (this.last += 1);
      const row = new FileRow(file.name, () => this.withdraw(number));
      const it = { number, file, arrived: new Map(), row };
      this.own.set(number, it);
      this.list.append(row.element);
      this.tellOffer(it);
    }
    this.draw();
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** @param {Own} it */
  tellOffer({ number, file }) {
    this.connection.send({ type: 'file', wish: 'offer', file: number, name: file.name, size: file.size });
  }

  /** @param {number} number */
  withdraw(number) {
    this.connection.send({ type: 'file', wish: 'withdraw', file: number });
    this.own.get(number)?.row.element.remove();
    this.own.delete(number);
    this.draw();
  }

  /** @param {FileNews} news */
  hear(news) {
    switch (news.news) {
      case 'offered':
        return this.handleOffered(news.peer, news.id, news.name, news.size);
      case 'withdrawn':
        return this.handleWithdrawn(keyOf(news.peer, news.id));
      case 'begun':
        return this.handleBegun(keyOf(news.peer, news.id), news.number);
      case 'failed':
        return this.handleFailed(keyOf(news.peer, news.id), news.reason);
      case 'read':
        return void this.read(news);
      case 'arrived':
        this.own.get(news.file)?.arrived.set(news.peer, news.bytes);
        return this.drawOwn(this.own.get(news.file));
      case 'stopped':
        this.own.get(news.file)?.arrived.delete(news.peer);
        return this.drawOwn(this.own.get(news.file));
    }
  }

  /** Everything is shown as it is now: somebody came or went, or the language is another. */
  draw() {
    this.list.hidden = this.own.size + this.offered.size === 0;
    for (const it of this.own.values()) this.drawOwn(it);
    for (const it of this.offered.values()) this.drawOffered(it);
  }

  /** @param {string} peer @param {string} id @param {string} name @param {number} size */
  handleOffered(peer, id, name, size) {
    const key = keyOf(peer, id);
    if (this.offered.has(key)) return;
    const row = new FileRow(name, () => void this.pressed(key));
    const from = this.room.people.get(peer)?.name ?? '';
    this.offered.set(key, { peer, id, name, size, from, state: 'offered', trouble: '', sink: null, taken: 0, writing: Promise.resolve(), row });
    this.list.append(row.element);
    this.draw();
    this.onOffered(from, name);
  }

  /** @param {string} key */
  handleWithdrawn(key) {
    const it = this.offered.get(key);
    if (!it || it.state === 'saved') return;
    // Why it stopped stays to be read; what was only offered is not missed.
    if (it.trouble) it.state = 'gone';
    else this.drop(key, it);
    this.draw();
  }

  /** @param {string} key @param {Offered} it */
  drop(key, it) {
    it.sink?.abort().catch(() => {});
    it.row.element.remove();
    this.offered.delete(key);
  }

  /** The one button of a row. @param {string} key */
  async pressed(key) {
    const it = this.offered.get(key);
    if (!it) return;
    const { peer, id, state } = it;
    if (state === 'saved' || state === 'gone') {
      this.drop(key, it);
      return this.draw();
    }
    if (state === 'coming') {
      this.connection.send({ type: 'file', wish: 'abort', peer, id });
      return this.fail(it, '');
    }
    it.row.setBusy(true);
    // One that was opened and never begun: the program had a reason, and told it.
    it.sink?.abort().catch(() => {});
    try {
      it.sink = await openSink(it.name, it.size);
      if (it.sink) this.connection.send({ type: 'file', wish: 'fetch', peer, id });
    } catch (error) {
      it.trouble = error instanceof RangeError ? t('file.too-large', { size: sizeText(MOST_IN_MEMORY) }) : messageOf(error);
      this.drawOffered(it);
    }
    it.row.setBusy(false);
  }

  /** @param {string} key @param {number} number */
  handleBegun(key, number) {
    const it = this.offered.get(key);
    if (!it?.sink) return;
    Object.assign(it, { state: 'coming', taken: 0, trouble: '', writing: Promise.resolve() });
    this.coming.set(number, it);
    this.drawOffered(it);
    if (it.size === 0) this.write(it, new Uint8Array());
  }

  /** The next piece of one that comes. @param {import('./protocol.js').Piece} piece */
  take({ number, bytes }) {
    const it = this.coming.get(number);
    if (it?.state === 'coming') this.write(it, bytes);
  }

  /** @param {Offered} it @param {Uint8Array} bytes */
  write(it, bytes) {
    const { sink, peer, id } = it;
    it.writing = it.writing
      .then(async () => {
        if (!sink || it.sink !== sink) return;
        await sink.write(bytes);
        it.taken += bytes.length;
        if (it.taken === it.size) await this.finish(it, sink);
        this.connection.send({ type: 'file', wish: 'taken', peer, id, bytes: it.taken });
        this.drawOffered(it);
      })
      .catch((error) => {
        if (it.sink !== sink) return;
        this.connection.send({ type: 'file', wish: 'abort', peer, id });
        this.fail(it, messageOf(error));
      });
  }

  /** @param {Offered} it @param {import('./sink.js').Sink} sink */
  async finish(it, sink) {
    await sink.close();
    it.sink = null;
    it.state = 'saved';
    this.end(it);
  }

  /** @param {string} key @param {string} reason */
  handleFailed(key, reason) {
    const it = this.offered.get(key);
    if (it) this.fail(it, reason);
  }

  /** It does not come any further; it can be saved again while it is offered. @param {Offered} it @param {string} trouble */
  fail(it, trouble) {
    if (it.state !== 'coming') return;
    const { sink } = it;
    Object.assign(it, { state: 'offered', sink: null, taken: 0, trouble });
    this.end(it);
    sink?.abort().catch(() => {});
    this.drawOffered(it);
  }

  /** @param {Offered} it */
  end(it) {
    for (const [number, other] of this.coming) if (other === it) this.coming.delete(number);
  }

  /** The peer wants a piece of ours. @param {Extract<FileNews, {news: 'read'}>} wanted */
  async read({ file, ticket, offset, length }) {
    try {
      const own = this.own.get(file);
      if (!own) throw new Error(t('file.withdrawn'));
      const bytes = await own.file.slice(offset, offset + length).arrayBuffer();
      if (bytes.byteLength !== length) throw new Error(t('file.changed'));
      this.connection.sendBinary(pieceMessage(ticket, bytes));
    } catch (error) {
      this.connection.send({ type: 'file', wish: 'unreadable', ticket, message: messageOf(error) });
    }
  }

  /** @param {Own | undefined} it */
  drawOwn(it) {
    if (!it) return;
    const { file, arrived, row } = it;
    const size = sizeText(file.size);
    const under = [...arrived].find(([peer, bytes]) => bytes < file.size && this.room.people.has(peer));
    const had = [...arrived.values()].filter((bytes) => bytes === file.size).length;
    const text = under
      ? t('file.sending', { size, name: this.room.people.get(under[0])?.name ?? '', percent: percent(under[1], file.size) })
      : had > 0
        ? t('file.had', { size, count: had })
        : t('file.own', { size });
    row.show({ text, sign: 'close', action: t('file.withdraw', { file: file.name }), done: under ? under[1] / file.size : null });
  }

  /** @param {Offered} it */
  drawOffered(it) {
    const { state, row } = it;
    const isComing = state === 'coming';
    const sign = isComing || state === 'saved' || state === 'gone' ? 'close' : 'save';
    const word = isComing ? 'file.cancel' : sign === 'close' ? 'file.forget' : 'file.save';
    row.show({ text: this.textOf(it), sign, action: t(word, { file: it.name }), done: isComing ? it.taken / Math.max(1, it.size) : null, isTrouble: it.trouble !== '' });
  }

  /** @param {Offered} it */
  textOf({ state, peer, size: bytes, taken, trouble, from }) {
    const size = sizeText(bytes);
    if (state === 'saved') return t('file.saved', { size });
    if (trouble) return t('file.failed', { reason: trouble });
    if (state !== 'coming') return t('file.from', { size, name: from });
    const isHere = this.room.people.has(peer);
    return isHere ? t('file.coming', { size, percent: percent(taken, bytes) }) : t('file.waiting', { name: from, percent: percent(taken, bytes) });
  }
}

/** @param {string} peer @param {string} id */
const keyOf = (peer, id) => `${peer}/${id}`;

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** Files one can offer at a time: as many as a peer takes. */
const MOST_OFFERS = 32;
