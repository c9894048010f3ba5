/**
 * The microphone's sound in blocks of 480 samples of 16 bits, each with its peak (0 to 1).
 *
 * Runs in the sound thread; sends a block as soon as it is full.
 */

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(480);
    this.filled = 0;
    this.peak = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channels = inputs[0] ?? [];
    const length = channels[0]?.length ?? 0;
    for (let at = 0; at < length; at += 1) {
      let sample = 0;
      for (const channel of channels) sample += channel[at] ?? 0;
      this.push(sample / channels.length);
    }
    return true;
  }

  /** @param {number} sample */
  push(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    this.peak = Math.max(this.peak, Math.abs(clipped));
    this.block[this.filled] = Math.round(clipped * 32767);
    this.filled += 1;
    if (this.filled < this.block.length) return;
    this.port.postMessage({ samples: this.block, peak: this.peak }, [this.block.buffer]);
    this.block = new Int16Array(480);
    this.filled = 0;
    this.peak = 0;
  }
}

registerProcessor('capture', Capture);
