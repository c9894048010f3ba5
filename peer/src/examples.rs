//! What `--help` shows as examples.

/// Of `peer`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  peer demo                                          see it work, on this machine alone
  peer join \"$LINK\"                                   see and hear each other, in your browser
  peer call \"$LINK\"                                   speak with each other, in this terminal
  peer publish \"$LINK\" clip.mkv --name alice          be a headless camera
  peer watch \"$LINK\"                                  see how well everybody comes through
  peer doctor \"$LINK\"                                 see what stands in the way
  peer record \"$LINK\" recordings                      keep what is said and shown";

/// Of `peer join`.
pub(crate) const JOIN_EXAMPLES: &str = "\
Examples:
  peer join \"$LINK\" --name alice
  peer join \"$LINK\" --video 1280x720@60 --bitrate none
  peer join \"$LINK\" --keyframe-interval 1 --no-browser";

/// Of `peer call`.
pub(crate) const CALL_EXAMPLES: &str = "\
Examples:
  peer call \"$LINK\" --name alice
  peer call --list-devices
  peer call \"$LINK\" --microphone \"USB Headset\" --speaker \"USB Headset\" --no-echo-cancellation";

/// Of `peer publish`.
pub(crate) const PUBLISH_EXAMPLES: &str = "\
Examples:
  peer publish \"$LINK\" clip.mkv --loop
  peer publish \"$LINK\" --test-pattern 640x480@30 --bitrate 800k
  ffmpeg -f v4l2 -i /dev/video0 -c:v libx264 -profile:v baseline -tune zerolatency -f matroska - | peer publish \"$LINK\" -";

/// Of `peer watch`.
pub(crate) const WATCH_EXAMPLES: &str = "\
Examples:
  peer watch \"$LINK\"
  peer watch \"$LINK\" --json | jq 'select(.event == \"stats\") | {name, path, latency_ms}'";

/// Of `peer record`.
pub(crate) const RECORD_EXAMPLES: &str = "\
Examples:
  peer record \"$LINK\" recordings
  peer record \"$LINK\" recordings --seconds 3600 --name \"the recorder\"";

/// Of `peer demo`.
pub(crate) const DEMO_EXAMPLES: &str = "\
Examples:
  peer demo
  peer demo --headless --pattern 640x480@30 --seconds 20
  peer demo --headless --json | jq 'select(.event == \"stats\") | [.at, .name, .path, .latency_ms]'";
