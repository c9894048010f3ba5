/**
 * The stage: a tile for everybody and every shared screen, laid out anew when somebody comes, goes or is pinned.
 *
 * Pictures of tiles that cannot be seen are not asked for.
 */
import { Room } from './room.js';
import { Tile } from './tile.js';
import { grid, pair, spotlight } from './layout.js';
import { t } from './i18n.js';

/** @typedef {import('./tile.js').View} View */

export class Stage {
  /**
   * @param {HTMLElement} root
   * @param {Room} room
   * @param {{onAbout: (id: string) => void, onWanted: (peer: string, track: number, wanted: boolean) => void}} actions
   */
  constructor(root, room, actions) {
    this.root = root;
    this.room = room;
    this.actions = actions;
    /** @type {MediaStreamTrack | null} */
    this.ownCamera = null;
    /** @type {MediaStreamTrack | null} */
    this.ownScreen = null;
    this.isMirrored = true;
    /** @type {Map<string, Tile>} */
    this.tiles = new Map();
    /** @type {Set<Element>} */
    this.seen = new Set();
    /** @type {string | null} */
    this.pinned = null;
    /** Screens that somebody took out of the spotlight. @type {Set<string>} */
    this.dismissed = new Set();
    new ResizeObserver(() => this.arrange()).observe(root);
    this.observer = new IntersectionObserver((entries) => this.look(entries), { root });
    document.addEventListener('visibilitychange', () => this.askForSeen());
  }

  /** Draws what the room says now. */
  update() {
    const views = this.views();
    for (const [key, tile] of this.tiles) if (!views.has(key)) this.drop(key, tile);
    const large = this.large([...views.keys()]);
    for (const [key, view] of views) {
      view.isPinned = key === large;
      this.tile(key).show(view);
    }
    this.arrange();
    this.askForSeen();
  }

  /** Marks who speaks. @param {number} now milliseconds */
  markSpeakers(now) {
    for (const person of this.room.people.values()) {
      const isSpeaking = now - person.spokeAt < SPEAKING_MS;
      this.tiles.get(`${person.id}/camera`)?.element.classList.toggle('is-speaking', isSpeaking);
    }
  }

  /** @param {boolean} isSpeaking */
  markSelf(isSpeaking) {
    this.tiles.get('me/camera')?.element.classList.toggle('is-speaking', isSpeaking);
  }

  /** @returns {Map<string, View>} */
  views() {
    const { me, people } = this.room;
    /** @type {Map<string, View>} */
    const views = new Map();
    if (this.ownScreen) views.set('me/screen', this.ownView(t('call.your-screen'), this.ownScreen, true));
    for (const person of people.values()) {
      const screen = Room.pictures(person, 'screen');
      if (screen) views.set(`${person.id}/screen`, this.view(person, screen.decoder, true));
    }
    for (const person of people.values()) {
      views.set(`${person.id}/camera`, this.view(person, Room.pictures(person, 'camera')?.decoder ?? null, false));
    }
    views.set('me/camera', this.ownView(t('call.you', { name: me.name }), this.ownCamera, false));
    return views;
  }

  /** @param {import('./room.js').Person} person @param {import('./decoder.js').Decoder | null} decoder @param {boolean} isScreen @returns {View} */
  view(person, decoder, isScreen) {
    const caption = isScreen ? t('call.screen-of', { name: person.name }) : person.name;
    const isMuted = !isScreen && !this.room.isHeard(person);
    const hasHand = person.hand && !isScreen;
    const { id, name, way } = person;
    return { id, name, caption, isOwn: false, isScreen, isMuted, hasHand, isPinned: false, isMirrored: false, way, own: null, decoder };
  }

  /** @param {string} caption @param {MediaStreamTrack | null} own @param {boolean} isScreen @returns {View} */
  ownView(caption, own, isScreen) {
    const { id, name, muted, hand } = this.room.me;
    const isMirrored = this.isMirrored && !isScreen;
    const base = { id, name, caption, isOwn: true, isScreen, isPinned: false, isMirrored, way: null, own, decoder: null };
    return { ...base, isMuted: muted && !isScreen, hasHand: hand && !isScreen };
  }

  /** Which tile is large: the pinned one, or the newest screen of somebody else. @param {string[]} keys */
  large(keys) {
    if (this.pinned && keys.includes(this.pinned)) return this.pinned;
    const screens = keys.filter((key) => key.endsWith('/screen') && key !== 'me/screen' && !this.dismissed.has(key));
    return screens.pop() ?? null;
  }

  /** @param {string} key */
  togglePin(key) {
    const isLarge = this.large([...this.tiles.keys()]) === key;
    this.pinned = isLarge ? null : key;
    if (isLarge) this.dismissed.add(key);
    else this.dismissed.delete(key);
    this.update();
  }

  arrange() {
    const { clientWidth: width, clientHeight: height } = this.root;
    const keys = [...this.tiles.keys()].sort(byOrder([...this.views().keys()]));
    const large = this.large(keys);
    const others = keys.filter((key) => key !== large);
    if (large) {
      const places = spotlight(others.length, width, height);
      this.move(large, places.large);
      others.forEach((key, at) => this.move(key, places.others[at]));
    } else if (keys.length === 2 && keys[0] !== 'me/screen') {
      const places = pair(width, height);
      this.move(keys[0], places.large);
      this.move(keys[1], places.floating, true);
    } else {
      const places = grid(keys.length, width, height);
      keys.forEach((key, at) => this.move(key, places[at]));
    }
  }

  /** @param {string | undefined} key @param {import('./layout.js').Place | undefined} place @param {boolean} isFloating */
  move(key, place, isFloating = false) {
    if (key && place) this.tiles.get(key)?.move(place, isFloating);
  }

  /** @param {string} key */
  tile(key) {
    const known = this.tiles.get(key);
    if (known) return known;
    const peer = key.slice(0, key.lastIndexOf('/'));
    const tile = new Tile({ onPin: () => this.togglePin(key), onAbout: () => this.actions.onAbout(peer) });
    this.tiles.set(key, tile);
    this.root.append(tile.element);
    // Seen until the observer says otherwise: the first picture is not to wait for it.
    this.seen.add(tile.element);
    this.observer.observe(tile.element);
    return tile;
  }

  /** @param {string} key @param {Tile} tile */
  drop(key, tile) {
    this.observer.unobserve(tile.element);
    this.seen.delete(tile.element);
    this.tiles.delete(key);
    this.dismissed.delete(key);
    if (this.pinned === key) this.pinned = null;
    tile.remove();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  look(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.seen.add(target);
      else this.seen.delete(target);
    }
    this.askForSeen();
  }

  askForSeen() {
    for (const person of this.room.people.values()) {
      for (const what of /** @type {const} */ (['camera', 'screen'])) {
        const track = Room.pictures(person, what);
        const tile = this.tiles.get(`${person.id}/${what}`);
        if (!track || !tile) continue;
        const isWanted = !document.hidden && this.seen.has(tile.element);
        if (isWanted === track.isWanted) continue;
        track.isWanted = isWanted;
        if (!isWanted) track.decoder?.pause();
        this.actions.onWanted(person.id, track.info.track, isWanted);
      }
    }
  }
}

/** @param {string[]} order */
function byOrder(order) {
  return (/** @type {string} */ one, /** @type {string} */ other) => order.indexOf(one) - order.indexOf(other);
}

/** How long somebody counts as speaking after the last loud moment. */
const SPEAKING_MS = 500;
