/**
 * Sound from the peer, evenly.
 *
 * Blocks come in bursts and wait in a ring. What waits longer than needed would be delay for the whole call, so the least fill of
 * each half second is looked at, and what is above the target is cut out with a short cross-fade. When the ring runs dry the
 * target grows; it shrinks again slowly.
 */

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Float32Array(RING);
    this.written = 0;
    this.played = 0;
    this.isPlaying = false;
    this.target = LEAST_TARGET;
    this.leastFill = RING;
    this.sinceLook = 0;
    this.underruns = 0;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  get fill() {
    return this.written - this.played;
  }

  /** @param {Int16Array} samples */
  take(samples) {
    for (const sample of samples) {
      this.ring[this.written % RING] = sample / 32768;
      this.written += 1;
    }
    // The sound device woke up late, or stood still: what piled up is old.
    if (this.fill > MOST_FILL) this.played = this.written - this.target;
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    const output = outputs[0]?.[0];
    if (!output) return true;
    if (!this.isPlaying && this.fill >= this.target) this.isPlaying = true;
    if (this.isPlaying && this.fill < output.length) this.ranDry();
    if (this.isPlaying) {
      for (let at = 0; at < output.length; at += 1) output[at] = this.sample(this.played + at);
      this.played += output.length;
      this.look(output.length);
    }
    return true;
  }

  ranDry() {
    this.isPlaying = false;
    this.underruns += 1;
    this.target = Math.min(MOST_TARGET, this.target + GROW);
    this.leastFill = RING;
    this.sinceLook = 0;
  }

  /** @param {number} length */
  look(length) {
    this.leastFill = Math.min(this.leastFill, this.fill);
    this.sinceLook += length;
    if (this.sinceLook < LOOK) return;
    const excess = this.leastFill - this.target;
    if (excess > GROW) this.cut(excess);
    this.port.postMessage({ fill: this.leastFill, target: this.target, underruns: this.underruns });
    this.target = Math.max(LEAST_TARGET, this.target - SHRINK);
    this.leastFill = RING;
    this.sinceLook = 0;
  }

  /** Leaves `length` samples out, fading from what would come into what comes instead. @param {number} length */
  cut(length) {
    for (let at = 0; at < FADE; at += 1) {
      const share = at / FADE;
      const mixed = this.sample(this.played + at) * (1 - share) + this.sample(this.played + length + at) * share;
      this.ring[(this.played + length + at) % RING] = mixed;
    }
    this.played += length;
  }

  /** @param {number} position */
  sample(position) {
    return this.ring[position % RING] ?? 0;
  }
}

/** All in samples at 48 kHz. */
const RING = 48_000;
const LEAST_TARGET = 960;
const MOST_TARGET = 4_800;
const MOST_FILL = 9_600;
const GROW = 480;
const SHRINK = 24;
const LOOK = 24_000;
const FADE = 240;

registerProcessor('playback', Playback);
