/**
 * A camera whose pictures say when they were taken, and an eye that reads it where they are shown.
 *
 * The time code is the lower 32 bits of the milliseconds since 1970, as black and white fields that survive any codec. Both functions run in
 * the page; the clock is the machine's, so two browsers on one machine can be compared.
 */

/** Runs before the page: whoever asks for a camera gets this one, 640×480 at 30 pictures a second. */
export function timeCodeCamera() {
  const media = navigator.mediaDevices;
  const ask = media.getUserMedia.bind(media);
  media.getUserMedia = async (constraints) => {
    if (!constraints?.video) return ask(constraints);
    const stream = constraints.audio ? await ask({ audio: constraints.audio }) : new MediaStream();
    stream.addTrack(camera());
    return stream;
  };

  /** @returns {MediaStreamTrack} */
  function camera() {
    const canvas = new OffscreenCanvas(640, 480);
    const pencil = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    const generator = new /** @type {any} */ (window).MediaStreamTrackGenerator({ kind: 'video' });
    const writer = generator.writable.getWriter();
    const stop = generator.stop.bind(generator);
    const timer = setInterval(() => {
      const now = Date.now();
      draw(pencil, now);
      const frame = new VideoFrame(canvas, { timestamp: Math.round(performance.now() * 1000) });
      void writer.write(frame).catch(() => frame.close());
    }, 1000 / 30);
    generator.stop = () => (clearInterval(timer), stop());
    return generator;
  }

  /** Something that moves, as people do, and the code above it. @param {OffscreenCanvasRenderingContext2D} pencil @param {number} now */
  function draw(pencil, now) {
    pencil.fillStyle = '#445';
    pencil.fillRect(0, 0, 640, 480);
    for (let at = 0; at < 12; at += 1) {
      pencil.fillStyle = `hsl(${at * 30} 60% 50%)`;
      const [x, y] = [320 + 250 * Math.sin(now / 900 + at), 330 + 90 * Math.cos(now / 700 + at * 2)];
      pencil.fillRect(x - 30, y - 30, 60, 60);
    }
    for (let bit = 0; bit < 32; bit += 1) {
      pencil.fillStyle = (now / 2 ** bit) & 1 ? '#fff' : '#000';
      pencil.fillRect((bit % 8) * 80, Math.floor(bit / 8) * 40, 80, 40);
    }
  }
}

/**
 * Runs in the page: looks at an element at every repaint for so long, and gives for each new picture how old it was, in milliseconds.
 * @param {[selector: string, seconds: number]} what @returns {Promise<number[]>}
 */
export function agesOfPictures([selector, seconds]) {
  const pencil = new OffscreenCanvas(64, 48).getContext('2d', { willReadFrequently: true });
  if (!pencil) throw new Error('no canvas');
  /** @type {number[]} */
  const ages = [];
  const ends = performance.now() + seconds * 1000;
  let last = -1;
  return new Promise((resolve) => {
    // After everything that is drawn for this repaint, whoever asked for it first.
    const { port1, port2 } = new MessageChannel();
    requestAnimationFrame(() => port1.postMessage(null));
    port2.onmessage = () => {
      const shown = document.querySelector(selector);
      const code = shown instanceof HTMLCanvasElement || shown instanceof HTMLVideoElement ? read(shown) : last;
      if (code !== last && last !== -1) ages.push((Date.now() - code) % 2 ** 32);
      last = code;
      if (performance.now() < ends) requestAnimationFrame(() => port1.postMessage(null));
      else resolve(ages);
    };
  });

  /** @param {HTMLCanvasElement | HTMLVideoElement} shown */
  function read(shown) {
    pencil?.drawImage(shown, 0, 0, 64, 48);
    const { data } = pencil?.getImageData(0, 0, 64, 48) ?? { data: [] };
    let code = 0;
    for (let bit = 0; bit < 32; bit += 1) {
      const [x, y] = [(bit % 8) * 8 + 4, Math.floor(bit / 8) * 4 + 2];
      if ((data[(y * 64 + x) * 4] ?? 0) > 127) code += 2 ** bit;
    }
    return code;
  }
}
