/**
 * A small graph of the last minute: one line or two, the newest value at the right edge.
 */
import { make, setText } from './dom.js';
import { label, t } from './i18n.js';

export class Graph {
  /** @param {import('./i18n.js').Word} what @param {number} least what the full height is at least worth */
  constructor(what, least) {
    this.what = what;
    this.least = least;
    this.title = make('span');
    this.now = make('b');
    this.canvas = make('canvas', { attributes: { role: 'img' } });
    this.element = make('div', { class: 'graph' }, make('p', {}, this.title, this.now), this.canvas);
  }

  /** @param {(number | null)[][]} lines oldest first; the second is fainter @param {string} now */
  show(lines, now) {
    setText(this.title, t(this.what));
    setText(this.now, now);
    label(this.canvas, t('details.graph', { what: t(this.what), now }));
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const pen = this.canvas.getContext('2d');
    if (!pen || width === 0) return;
    pen.scale(scale, scale);
    const most = Math.max(this.least, ...lines.flat().map((value) => value ?? 0)) * 1.08;
    const style = getComputedStyle(this.canvas);
    const colours = [style.getPropertyValue('--accent'), style.getPropertyValue('--good')];
    lines.forEach((values, at) => draw(pen, values, { width, height, most, colour: colours[at] ?? 'gray', isFilled: at === 0 }));
  }
}

/**
 * @param {CanvasRenderingContext2D} pen @param {(number | null)[]} values
 * @param {{width: number, height: number, most: number, colour: string, isFilled: boolean}} how
 */
function draw(pen, values, { width, height, most, colour, isFilled }) {
  const step = width / (SECONDS - 1);
  const left = width - step * (values.length - 1);
  const point = (/** @type {number} */ at) => ({ x: left + at * step, y: height - 1.5 - ((values[at] ?? 0) / most) * (height - 3) });
  pen.beginPath();
  values.forEach((_, at) => pen.lineTo(point(at).x, point(at).y));
  pen.strokeStyle = colour;
  pen.lineWidth = 1.6;
  pen.lineJoin = 'round';
  pen.stroke();
  if (!isFilled) return;
  pen.lineTo(width, height);
  pen.lineTo(left, height);
  pen.globalAlpha = 0.14;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
}

const SECONDS = 60;
