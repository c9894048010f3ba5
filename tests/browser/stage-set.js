/**
 * What fake cameras and microphones show: a picture of four colours and a tone of bursts for each person, and drawn portraits
 * for the pictures of the README.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

/** @typedef {[number, number, number]} Colour */

/**
 * A film of one second in which the quarters have these colours and a bar wanders.
 * @param {string} file @param {Colour[]} quarters
 */
export function film(file, quarters) {
  const [width, height, count] = [160, 120, 10];
  const frames = Array.from({ length: count }, (_, at) => {
    const planes = Buffer.alloc((width * height * 3) / 2);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const isBar = Math.abs(x - (at * width) / count) < 4;
        const [luma, blue, red] = yuv(isBar ? [255, 255, 255] : (quarters[(y < height / 2 ? 0 : 2) + (x < width / 2 ? 0 : 1)] ?? [0, 0, 0]));
        planes[y * width + x] = luma;
        const chroma = (y >> 1) * (width >> 1) + (x >> 1);
        planes[width * height + chroma] = blue;
        planes[(width * height * 5) / 4 + chroma] = red;
      }
    }
    return Buffer.concat([Buffer.from('FRAME\n'), planes]);
  });
  writeFileSync(file, Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F10:1 Ip A1:1 C420jpeg\n`), ...frames]));
}

/** Whether these are the colours of a film. @param {number[][]} seen @param {number[][]} expected */
export function looksLike(seen, expected) {
  return seen.every((colour, at) => colour.every((value, channel) => Math.abs(value - (expected[at]?.[channel] ?? 999)) < 60));
}

/** Bursts of a tone: steady ones count as noise and are taken away. @param {string} file @param {number} frequency hertz */
export function tone(file, frequency) {
  const [rate, seconds] = [48_000, 2];
  const samples = Buffer.alloc(rate * seconds * 2);
  for (let at = 0; at < rate * seconds; at += 1) {
    const phase = (at / rate) % 0.5;
    const swell = phase < 0.25 ? Math.sin((phase / 0.25) * Math.PI) : 0;
    samples.writeInt16LE(Math.round(14_000 * swell * Math.sin((2 * Math.PI * frequency * at) / rate)), at * 2);
  }
  const header = Buffer.from('RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\xbb\0\0\0\x77\x01\0\x02\0\x10\0data\0\0\0\0', 'latin1');
  header.writeUInt32LE(36 + samples.length, 4);
  header.writeUInt32LE(samples.length, 40);
  writeFileSync(file, Buffer.concat([header, samples]));
}

/**
 * A person drawn with a few shapes, nodding a little.
 * @param {import('playwright-core').BrowserContext} context @param {string} file @param {number} who
 */
export async function portrait(context, file, who) {
  const page = await context.newPage();
  const pictures = await page.evaluate(drawPortrait, who);
  await page.close();
  const input = Buffer.concat(pictures.map((it) => Buffer.from(it.slice(it.indexOf(',') + 1), 'base64')));
  const line = ['-v', 'error', '-y', '-f', 'image2pipe', '-framerate', '15', '-c:v', 'mjpeg', '-i', '-', '-pix_fmt', 'yuv420p', file];
  execFileSync('ffmpeg', line, { input, maxBuffer: 1 << 26 });
}

/** Runs in a page. @param {number} who */
function drawPortrait(who) {
  const looks = [
    { wall: ['#9fc5d8', '#d9e8ee'], skin: '#e8b996', hair: '#4a2f23', shirt: '#2f5d8a', isLong: true },
    { wall: ['#e6c9a8', '#f6e8d4'], skin: '#c98d63', hair: '#1d1a1a', shirt: '#7a3b4d', isLong: false },
    { wall: ['#a9c9a4', '#e2efdc'], skin: '#f1cfb2', hair: '#a5622d', shirt: '#47624f', isLong: true },
    { wall: ['#b7b3d6', '#e9e6f5'], skin: '#8d5a3c', hair: '#120e0d', shirt: '#c9822f', isLong: false },
  ];
  const look = looks[who % looks.length];
  if (!look) return [];
  const canvas = document.createElement('canvas');
  canvas.width = 640;
  canvas.height = 480;
  const pen = canvas.getContext('2d');
  if (!pen) return [];
  const ellipse = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ rx, /** @type {number} */ ry, /** @type {string} */ colour) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.ellipse(x, y, rx, ry, 0, 0, 7);
    pen.fill();
  };
  return Array.from({ length: 30 }, (_, at) => {
    const nod = Math.sin((at / 30) * 2 * Math.PI) * 5;
    const wall = pen.createLinearGradient(0, 0, 640, 480);
    wall.addColorStop(0, look.wall[1] ?? '');
    wall.addColorStop(1, look.wall[0] ?? '');
    pen.fillStyle = wall;
    pen.fillRect(0, 0, 640, 480);
    pen.fillStyle = 'rgb(255 255 255 / 45%)';
    pen.fillRect(who % 2 ? 40 : 450, 40, 150, 200);
    pen.fillStyle = 'rgb(70 60 60 / 22%)';
    for (let shelf = 0; shelf < 3; shelf += 1) pen.fillRect(who % 2 ? 450 : 40, 90 + shelf * 70, 150, 8);
    if (look.isLong) ellipse(320, 250 + nod, 128, 165, look.hair);
    ellipse(320, 520, 215, 150, look.shirt);
    pen.fillStyle = look.skin;
    pen.fillRect(284, 310 + nod, 72, 80);
    ellipse(320, 240 + nod, 96, 122, look.skin);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, 640, 205 + nod);
    pen.clip();
    ellipse(320, 215 + nod, 106, 118, look.hair);
    pen.restore();
    ellipse(320, 262 + nod, 88, 92, look.skin);
    for (const side of [-36, 36]) ellipse(320 + side, 238 + nod, 8, at % 30 === 12 ? 2 : 9, '#2a211d');
    pen.strokeStyle = '#8c4a3c';
    pen.lineWidth = 6;
    pen.lineCap = 'round';
    pen.beginPath();
    pen.arc(320, 268 + nod, 36, 0.35, Math.PI - 0.35);
    pen.stroke();
    return canvas.toDataURL('image/jpeg', 0.92);
  });
}

/** @param {Colour} colour @returns {Colour} */
function yuv([r, g, b]) {
  const luma = 0.299 * r + 0.587 * g + 0.114 * b;
  const clip = (/** @type {number} */ value) => Math.max(0, Math.min(255, Math.round(value)));
  return [clip(luma), clip(128 + (b - luma) * 0.564), clip(128 + (r - luma) * 0.713)];
}
