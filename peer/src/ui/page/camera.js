/**
 * A picture track's frames, one by one, with the time they were captured.
 *
 * Chromium hands out frames by MediaStreamTrackProcessor. Where it is missing (Firefox), a hidden video element plays the track
 * and each frame it presents is copied.
 */
import { nowUs } from './protocol.js';

/**
 * Calls `take` with each frame until the track ends or the returned function is called. `take` owns the frame and closes it.
 * @param {MediaStreamTrack} track
 * @param {(frame: VideoFrame) => void} take
 * @returns {() => void} stops
 */
export function frames(track, take) {
  return 'MediaStreamTrackProcessor' in window ? byProcessor(track, take) : byVideoElement(track, take);
}

/** @param {MediaStreamTrack} track @param {(frame: VideoFrame) => void} take */
function byProcessor(track, take) {
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 2 }).readable.getReader();
  const read = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || !value) return;
      const frame = new VideoFrame(value, { timestamp: nowUs() });
      value.close();
      take(frame);
    }
  };
  // The reader fails only when the track is gone; its `ended` event tells that too.
  read().catch(() => {});
  return () => void reader.cancel().catch(() => {});
}

/** @param {MediaStreamTrack} track @param {(frame: VideoFrame) => void} take */
function byVideoElement(track, take) {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  let isStopped = false;
  const next = () => {
    if (isStopped) return;
    if (video.videoWidth > 0) take(new VideoFrame(video, { timestamp: nowUs() }));
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
  video.play().catch(() => {});
  return () => {
    isStopped = true;
    video.srcObject = null;
  };
}
