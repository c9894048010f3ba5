/** What browsers have and TypeScript's lists do not name yet. */

declare class MediaStreamTrackProcessor {
  constructor(options: { track: MediaStreamTrack; maxBufferSize?: number });
  readonly readable: ReadableStream<VideoFrame>;
}

interface AudioWorkletProcessorLike {
  readonly port: MessagePort;
}

declare const AudioWorkletProcessor: { new (): AudioWorkletProcessorLike };
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessorLike): void;
