// One side of a call between two pages. The bench calls offer(), answer(), accept(), then report() and estimate() each second,
// and after the call for what was drawn and kept: drawn, kept, tell().
'use strict';

const WIDTH = 640, HEIGHT = 480, RATE = 30, MOST_BITS = 1_200_000;
const FRAME_BYTES = WIDTH * HEIGHT * 3 / 2;
// The time code: two rows of 32 square cells on top of the picture, 44 bits of milliseconds since 1970 and 20 of a checksum.
const COLUMNS = 32, ROWS = 2, CELL = WIDTH / COLUMNS, DARK = 40, BRIGHT = 210;

// A little less than a second, as `peer/examples/support/samples.rs` has it.
const KEEP_EVERY = 950;

const connection = new RTCPeerConnection();
const now = () => performance.timeOrigin + performance.now();

// The sending side: the same pictures as everybody else's, with the time each is handed over.
async function offer(pictures) {
  const bytes = new Uint8Array(await (await fetch(pictures)).arrayBuffer());
  const camera = new MediaStreamTrackGenerator({ kind: 'video' });
  const stream = new MediaStream([camera]);
  const untouched = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const [microphone] = (await navigator.mediaDevices.getUserMedia({ audio: untouched })).getAudioTracks();
  stream.addTrack(microphone);
  connection.addTrack(microphone, stream);
  const { sender } = connection.addTransceiver(camera, { direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate: MOST_BITS }] });
  await connection.setLocalDescription();
  await gathered();
  film(bytes, camera.writable.getWriter());
  return connection.localDescription.sdp;
}

async function accept(sdp) {
  await connection.setRemoteDescription({ type: 'answer', sdp });
}

// Which of the pictures was drawn at which millisecond.
const drawn = new Map();

// There and back again through the pictures, so that nothing ever jumps.
function film(bytes, writer) {
  const count = Math.floor(bytes.length / FRAME_BYTES);
  const begin = performance.now();
  let taken = 0;
  setInterval(() => {
    const due = Math.floor((performance.now() - begin) * RATE / 1000);
    if (due < taken) return;
    taken = due + 1;
    const turn = due % (2 * count - 2);
    const index = turn < count ? turn : 2 * count - 2 - turn;
    const picture = bytes.slice(index * FRAME_BYTES, (index + 1) * FRAME_BYTES);
    const millis = Math.round(now());
    drawTime(picture, millis);
    drawn.set(millis, index);
    const timestamp = Math.round(performance.now() * 1000);
    const frame = new VideoFrame(picture, { format: 'I420', codedWidth: WIDTH, codedHeight: HEIGHT, timestamp });
    if (writer.desiredSize > 0) writer.write(frame); else frame.close();
  }, 4);
}

async function estimate() {
  for (const entry of (await connection.getStats()).values()) {
    if (entry.type === 'candidate-pair' && entry.nominated) return (entry.availableOutgoingBitrate ?? 0) / 1000;
  }
  return null;
}

// The receiving side.
async function answer(sdp) {
  const screen = document.getElementById('screen');
  connection.ontrack = ({ streams: [stream] }) => { screen.srcObject = stream; };
  await connection.setRemoteDescription({ type: 'offer', sdp });
  await connection.setLocalDescription();
  await gathered();
  screen.requestVideoFrameCallback(watch);
  return connection.localDescription.sdp;
}

let shown = 0, latencies = [], before = null, nextKept = 0;
const strip = new OffscreenCanvas(WIDTH, ROWS * CELL).getContext('2d', { willReadFrequently: true });

function watch(_, picture) {
  const screen = document.getElementById('screen');
  screen.requestVideoFrameCallback(watch);
  shown += 1;
  const millis = timeOf(screen, screen.videoWidth);
  if (millis !== null) latencies.push(performance.timeOrigin + picture.presentationTime - millis);
  if (picture.presentationTime < nextKept) return;
  nextKept = picture.presentationTime + KEEP_EVERY;
  const frame = new VideoFrame(screen);
  setTimeout(() => keep(frame));
}

function timeOf(image, width) {
  const scale = width / WIDTH;
  strip.drawImage(image, 0, 0, width, ROWS * CELL * scale, 0, 0, WIDTH, ROWS * CELL);
  return readTime(strip.getImageData(0, 0, WIDTH, ROWS * CELL).data);
}

// About one picture a second as it was decoded, without gaps between lines. One whose time cannot be read is not kept.
const kept = [];

async function keep(frame) {
  const { width, height } = frame.visibleRect;
  const millis = timeOf(frame, width);
  if (millis !== null) {
    const { format } = frame, planes = new Uint8Array(frame.allocationSize());
    await frame.copyTo(planes);
    kept.push({ millis, format, width, height, planes });
  }
  frame.close();
}

function tell(nth) {
  const { millis, format, width, height, planes } = kept[nth];
  if (format !== 'I420') throw new Error(`pictures come as ${format}`);
  return [millis, width, height, planes.toBase64()];
}

// What came since the last report; totals since the beginning.
async function report() {
  const entries = [...(await connection.getStats()).values()].filter((entry) => entry.type === 'inbound-rtp');
  const sound = entries.find((entry) => entry.kind === 'audio') ?? {};
  const video = entries.find((entry) => entry.kind === 'video') ?? {};
  const totals = {
    at: performance.now(), shown,
    bytes: (sound.bytesReceived ?? 0) + (video.bytesReceived ?? 0),
    held: sound.jitterBufferDelay ?? 0, emitted: sound.jitterBufferEmittedCount ?? 0,
  };
  const last = before ?? totals;
  before = totals;
  const seconds = Math.max(0.001, (totals.at - last.at) / 1000);
  const emitted = totals.emitted - last.emitted;
  const taken = latencies.splice(0);
  return {
    pictures: (totals.shown - last.shown) / seconds,
    kbps: (totals.bytes - last.bytes) * 8 / 1000 / seconds,
    latency_ms: taken.length > 0 ? taken.reduce((sum, latency) => sum + latency, 0) / taken.length : null,
    sound_buffer_ms: emitted > 0 ? (totals.held - last.held) / emitted * 1000 : null,
    freezes: video.freezeCount ?? 0,
    freeze_ms: (video.totalFreezesDuration ?? 0) * 1000,
    concealed_ms: (sound.concealedSamples ?? 0) / 48,
    width: video.frameWidth ?? 0,
  };
}

function gathered() {
  return new Promise((done) => {
    const look = () => { if (connection.iceGatheringState === 'complete') done(); };
    connection.addEventListener('icegatheringstatechange', look);
    look();
  });
}

function drawTime(picture, millis) {
  const word = BigInt(millis) << 20n | BigInt(checksum(millis));
  for (let cell = 0; cell < COLUMNS * ROWS; cell += 1) {
    const level = word >> BigInt(COLUMNS * ROWS - 1 - cell) & 1n ? BRIGHT : DARK;
    const left = cell % COLUMNS * CELL, top = Math.floor(cell / COLUMNS) * CELL;
    for (let line = top; line < top + CELL; line += 1) picture.fill(level, line * WIDTH + left, line * WIDTH + left + CELL);
  }
  const size = WIDTH * HEIGHT, half = WIDTH / 2, grey = ROWS * CELL / 2 * half;
  picture.fill(128, size, size + grey);
  picture.fill(128, size * 5 / 4, size * 5 / 4 + grey);
}

// A code is read in full or not at all.
function readTime(pixels) {
  let word = 0n;
  for (let cell = 0; cell < COLUMNS * ROWS; cell += 1) {
    const x = cell % COLUMNS * CELL + CELL / 2, y = Math.floor(cell / COLUMNS) * CELL + CELL / 2;
    let sum = 0;
    for (let dy = -2; dy <= 2; dy += 2) for (let dx = -2; dx <= 2; dx += 2) sum += pixels[((y + dy) * WIDTH + x + dx) * 4];
    word = word << 1n | (sum / 9 > 110 ? 1n : 0n);
  }
  const millis = Number(word >> 20n);
  return Number(word & 0xfffffn) === checksum(millis) ? millis : null;
}

function checksum(millis) {
  let hash = 0x811c9dc5;
  for (const digit of String(millis)) hash = Math.imul(hash ^ digit.charCodeAt(0), 0x01000193);
  return (hash >>> 4) & 0xfffff;
}
