/**
 * The camera and the microphone: asked for, chosen, lost, and found again.
 *
 * Each is on or off by the person's will; a device that is missing, refused or unplugged is a trouble with a sentence, never the
 * end of the call. One that returns while it is wanted is used again.
 */

/** @typedef {'camera' | 'microphone'} Kind */
/** @typedef {'refused' | 'missing' | 'busy' | 'lost'} Trouble */
/** @typedef {{width: number, height: number, rate: number}} Shape */

export class Device {
  /**
   * @param {Kind} kind
   * @param {(id: string) => MediaTrackConstraints} constraints for a device id, or any if it is empty
   */
  constructor(kind, constraints) {
    this.kind = kind;
    this.constraints = constraints;
    this.id = '';
    this.isWanted = true;
    /** @type {MediaStreamTrack | null} */
    this.track = null;
    /** @type {Trouble | null} */
    this.trouble = null;
    this.isStarting = false;
    this.isResting = false;
    this.attempt = 0;
    /** @type {(() => void)[]} called whenever track, trouble or starting change */
    this.listeners = [];
    navigator.mediaDevices?.addEventListener('devicechange', () => this.look());
  }

  /** Starts or restarts with the device and shape that are wished for now. */
  async start() {
    this.isWanted = true;
    this.isResting = false;
    const attempt = ++this.attempt;
    this.release();
    this.isStarting = true;
    this.trouble = null;
    this.changed();
    const found = await this.open();
    if (attempt !== this.attempt) return stopTrack(found);
    this.isStarting = false;
    if (found instanceof MediaStreamTrack) {
      this.track = found;
      found.addEventListener('ended', () => this.track === found && this.lost());
    } else {
      this.trouble = found;
    }
    this.changed();
  }

  stop() {
    this.isWanted = false;
    this.attempt += 1;
    this.isStarting = false;
    this.trouble = null;
    this.release();
    this.changed();
  }

  /** Lets the device go until the next start, whatever comes; the person's will is not touched. */
  rest() {
    this.isResting = true;
    this.attempt += 1;
    this.isStarting = false;
    this.release();
  }

  /** @param {string} id */
  async choose(id) {
    this.id = id;
    if (this.isWanted) await this.start();
  }

  /** What the camera really gives. @returns {Shape | null} */
  get granted() {
    const settings = this.track?.getSettings();
    if (!settings?.width || !settings.height) return null;
    return { width: settings.width, height: settings.height, rate: Math.round(settings.frameRate ?? 0) };
  }

  async open() {
    if (!navigator.mediaDevices) return 'missing';
    const what = this.kind === 'camera' ? 'video' : 'audio';
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ [what]: this.constraints(this.id) });
      return stream.getTracks()[0] ?? 'missing';
    } catch (error) {
      return troubleOf(error);
    }
  }

  release() {
    this.track?.stop();
    this.track = null;
  }

  lost() {
    this.track = null;
    this.trouble = 'lost';
    this.changed();
  }

  async look() {
    if (!this.isWanted || this.isResting || this.track || this.isStarting || this.trouble === 'refused') return;
    const kind = this.kind === 'camera' ? 'videoinput' : 'audioinput';
    const all = await navigator.mediaDevices.enumerateDevices();
    if (all.some((it) => it.kind === kind)) await this.start();
  }

  changed() {
    for (const listener of this.listeners) listener();
  }
}

/**
 * Cameras, microphones or speakers the person can choose from; their names are empty until the browser allows them.
 * @param {MediaDeviceKind} kind
 */
export async function devicesOf(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((it) => it.kind === kind && it.deviceId && it.deviceId !== 'default' && it.deviceId !== 'communications');
}

/** @param {unknown} error @returns {Trouble} */
function troubleOf(error) {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'refused';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'missing';
  return 'busy';
}

/** @param {MediaStreamTrack | Trouble} found */
function stopTrack(found) {
  if (found instanceof MediaStreamTrack) found.stop();
}
