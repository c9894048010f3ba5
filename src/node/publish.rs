//! What goes from us to everybody: a frame is cut once and stands in every peer's queue.

use std::time::Duration;

use crate::media::packetize::{FrameTooLarge, packetize};
use crate::media::{Frame, Track};
use crate::params::{CACHE_MAX_BYTES, KEY_FRAME_INTERVAL, PICTURE_DEADLINE, SOUND_DEADLINE};
use crate::rate::queue::{Class, Packets};
use crate::units::{FrameNumber, Time};

/// One track of ours.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) track: Track,
    /// The frames since the last key frame, for those who join late; empty when they are too many.
    since_key: Vec<Packets>,
    cached: usize,
    key_sent: Option<Time>,
    key_asked: Option<Time>,
    /// The number after the last frame.
    pub(super) end: FrameNumber,
}

impl Publication {
    pub(super) fn new(track: Track) -> Self {
        Publication {
            track,
            since_key: Vec::new(),
            cached: 0,
            key_sent: None,
            key_asked: None,
            end: FrameNumber::default(),
        }
    }

    /// Cuts a frame and keeps it for late joiners.
    pub(super) fn publish(&mut self, frame: &Frame, now: Time) -> Result<Packets, FrameTooLarge> {
        let packets: Packets = packetize(frame)?.into();
        self.end = FrameNumber(frame.number.0.saturating_add(1));
        if self.class() == Class::Picture {
            self.cache(&packets, frame, now);
        }
        Ok(packets)
    }

    /// What somebody who joins now needs to see something at once.
    pub(super) fn backlog(&self) -> &[Packets] {
        &self.since_key
    }

    pub(super) fn class(&self) -> Class {
        if self.track.kind.is_audio() { Class::Sound } else { Class::Picture }
    }

    /// Until when a frame that is sent at `now` is of use.
    pub(super) fn deadline(&self, now: Time) -> Time {
        now + match self.class() {
            Class::Sound => SOUND_DEADLINE,
            Class::Picture => PICTURE_DEADLINE,
        }
    }

    /// Somebody needs a key frame; whether the encoder is to be asked.
    pub(super) fn handle_key_frame_request(&mut self, now: Time) -> bool {
        let is_recent = |at: Option<Time>, span: Duration| at.is_some_and(|at| now.since(at) < span);
        if self.class() == Class::Sound
            || is_recent(self.key_sent, KEY_FRAME_INTERVAL)
            || is_recent(self.key_asked, KEY_FRAME_INTERVAL)
        {
            return false;
        }
        self.key_asked = Some(now);
        true
    }

    fn cache(&mut self, packets: &Packets, frame: &Frame, now: Time) {
        if frame.is_key() {
            self.since_key.clear();
            self.cached = 0;
            self.key_sent = Some(now);
        } else if self.since_key.is_empty() {
            return;
        }
        self.cached += frame.data.len();
        if self.cached > CACHE_MAX_BYTES {
            self.since_key.clear();
            return;
        }
        self.since_key.push(packets.clone());
    }
}
