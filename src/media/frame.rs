//! A frame: one encoded picture or one packet of sound, and what a receiver must know to use it.

use bytes::Bytes;

use crate::units::{CaptureTime, FrameNumber, TrackId};
use crate::wire::track::FrameKind;

/// One encoded picture or one packet of sound, whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The track this frame belongs to.
    pub track: TrackId,
    /// Its place in decode order; consecutive within the track.
    pub number: FrameNumber,
    /// When it is to be shown or heard (presentation order), on the sender's clock.
    pub captured: CaptureTime,
    /// Whether decoding can start here.
    pub kind: FrameKind,
    /// Temporal layer, 0 to 3: frames of a layer above 0 can be dropped without harm to lower layers.
    pub temporal_layer: u8,
    /// How many frames back, in decode order, the latest frame lies that this one needs; 0 for none.
    pub needs: u8,
    /// The encoded bytes as the track's codec and description define them.
    pub data: Bytes,
}

impl Frame {
    /// Whether decoding can start here.
    pub fn is_key(&self) -> bool {
        self.kind == FrameKind::Key
    }

    /// The frame this one needs, if it needs any.
    pub fn needed(&self) -> Option<FrameNumber> {
        match self.needs {
            0 => None,
            back => self.number.0.checked_sub(u32::from(back)).map(FrameNumber),
        }
    }
}
