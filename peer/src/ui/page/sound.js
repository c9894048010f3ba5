/**
 * Sound in and out of the browser: a clock of 48 kHz, microphones as blocks of samples, and the mix of everybody to the speaker.
 *
 * The mix is played by the page, so the browser's echo canceller knows it.
 */

/** @typedef {{samples: Int16Array, peak: number}} Block */

export class Sound {
  constructor() {
    this.context = new AudioContext({ sampleRate: 48_000, latencyHint: 'interactive' });
    this.ready = this.load();
    /** @type {AudioWorkletNode | null} */
    this.playback = null;
  }

  async load() {
    await this.context.audioWorklet.addModule('/capture-worklet.js');
    await this.context.audioWorklet.addModule('/playback-worklet.js');
    this.playback = new AudioWorkletNode(this.context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
    this.playback.connect(this.context.destination);
  }

  /** Browsers start sound only after a click or a key. */
  async wake() {
    if (this.context.state === 'suspended') await this.context.resume().catch(() => {});
  }

  get isPaused() {
    return this.context.state === 'suspended';
  }

  /** Plays a block of the mix. @param {Int16Array} samples */
  play(samples) {
    if (this.context.state !== 'running' || !this.playback) return;
    const block = samples.slice();
    this.playback.port.postMessage(block, [block.buffer]);
  }

  /**
   * Listens to `track` until the returned function is called.
   * @param {MediaStreamTrack} track
   * @param {(block: Block) => void} take
   * @returns {() => void}
   */
  capture(track, take) {
    let isStopped = false;
    /** @type {AudioNode[]} */
    let nodes = [];
    void this.ready.then(() => {
      if (isStopped) return;
      const source = this.context.createMediaStreamSource(new MediaStream([track]));
      const worklet = new AudioWorkletNode(this.context, 'capture', { numberOfOutputs: 0 });
      worklet.port.onmessage = ({ data }) => !isStopped && take(data);
      source.connect(worklet);
      nodes = [source, worklet];
    });
    return () => {
      isStopped = true;
      for (const node of nodes) node.disconnect();
    };
  }

  /** @param {string} id of an output device; empty for the system's choice */
  async speakTo(id) {
    const context = /** @type {AudioContext & {setSinkId?: (id: string) => Promise<void>}} */ (this.context);
    await context.setSinkId?.(id).catch(() => {});
  }

  get canChooseSpeaker() {
    return 'setSinkId' in this.context;
  }

  /** Three notes, rising; resolves when they are over. */
  async test() {
    await this.wake();
    const start = this.context.currentTime + 0.05;
    const notes = NOTES.map((frequency, at) => this.note(frequency, start + at * 0.22));
    await Promise.all(notes);
  }

  /** @param {number} frequency @param {number} start @returns {Promise<void>} */
  note(frequency, start) {
    const tone = new OscillatorNode(this.context, { frequency });
    const volume = new GainNode(this.context, { gain: 0 });
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.25, start + 0.02);
    volume.gain.linearRampToValueAtTime(0, start + 0.2);
    tone.connect(volume).connect(this.context.destination);
    tone.start(start);
    tone.stop(start + 0.22);
    return new Promise((resolve) => (tone.onended = () => resolve()));
  }
}

/** Hertz: C, E, G. */
const NOTES = [523.25, 659.25, 783.99];
