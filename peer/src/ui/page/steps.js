/**
 * How large and how often pictures are encoded, so that the rate the network carries makes good ones.
 *
 * Size and rate of the source, bits a second and the time go in; how much smaller and how much rarer comes out. Less is taken at
 * once when there are too few bits for a pixel; more only after the network could have carried it for a while, because each
 * new size costs a key frame. A camera gives up size before rate, a screen rate before size: faces must move, text must be read.
 */

/** @typedef {{scale: number, part: number}} Step sides and pictures a second, as parts of the source's */
/** @typedef {{width: number, height: number, rate: number, keyframe_interval: number | null}} Source */

export class Steps {
  /** @param {readonly Step[]} ladder from the most to the least */
  constructor(ladder) {
    this.ladder = ladder;
    this.at = 0;
    /** @type {number | null} since when the next better step could have been carried */
    this.roomSince = null;
  }

  /** @param {Source} source @param {number} bitsPerSecond @param {number} now milliseconds @returns {Step} */
  follow(source, bitsPerSecond, now) {
    const isCarried = (/** @type {number} */ at, /** @type {number} */ least) => bitsPerSecond >= least * this.cost(at, source);
    const last = this.ladder.length - 1;
    while (this.at < last && !isCarried(this.at, LEAST_BITS_PER_PIXEL)) this.at += 1;
    if (this.at === 0 || !isCarried(this.at - 1, GOOD_BITS_PER_PIXEL)) this.roomSince = null;
    else this.roomSince ??= now;
    if (this.roomSince !== null && now - this.roomSince >= UP_AFTER_MS) {
      this.roomSince = null;
      while (this.at > 0 && isCarried(this.at - 1, GOOD_BITS_PER_PIXEL)) this.at -= 1;
    }
    return this.ladder[this.at] ?? WHOLE;
  }

  /** Pixels a second at a step; those of key frames count for more. @param {number} at @param {Source} source */
  cost(at, { width, height, rate, keyframe_interval }) {
    const { scale, part } = this.ladder[at] ?? WHOLE;
    const pictures = rate * part;
    const keys = keyframe_interval === null ? 0 : Math.min(pictures, 1 / keyframe_interval);
    return width * scale * height * scale * (pictures + keys * (KEY_WORTH - 1));
  }
}

const WHOLE = { scale: 1, part: 1 };

/** @type {readonly Step[]} */
export const CAMERA_STEPS = [
  WHOLE,
  { scale: 3 / 4, part: 1 },
  { scale: 1 / 2, part: 1 },
  { scale: 1 / 2, part: 1 / 2 },
  { scale: 3 / 8, part: 1 / 2 },
  { scale: 1 / 4, part: 1 / 2 },
];

/** @type {readonly Step[]} */
export const SCREEN_STEPS = [
  WHOLE,
  { scale: 1, part: 1 / 2 },
  { scale: 1, part: 1 / 4 },
  { scale: 1, part: 1 / 8 },
  { scale: 3 / 4, part: 1 / 8 },
  { scale: 1 / 2, part: 1 / 8 },
];

/** For those whose way does not carry the camera as the others see it. @type {readonly Step[]} */
export const SMALLER_STEPS = CAMERA_STEPS.slice(2);

/** Below this H.264 in real time leaves pictures out or blurs them: 640×480 at 30 a second needs 230 kbit/s. */
const LEAST_BITS_PER_PIXEL = 0.025;
/** What the next step must have before it is taken: well above, so that an unsteady rate does not swing it. */
const GOOD_BITS_PER_PIXEL = 0.035;
/** Milliseconds for which the next step must have had its bits. */
const UP_AFTER_MS = 5000;
/** A key frame takes as much as so many others. */
const KEY_WORTH = 5;
