//! Decodes what comes, on a thread of its own, and knows how well that goes.

use std::sync::{Arc, Mutex, PoisonError};

use meipo::media::{Frame, Track};
use meipo::net::clock::unix_micros_now;
use meipo::node::Event;
use meipo::units::{PeerId, TrackId};
use tokio::sync::mpsc;

use crate::decode::{Decoders, Wish};
use crate::events::{Stats, tenths};
use crate::worker::Worker;

/// The decoding thread, seen from the call.
#[derive(Debug)]
pub struct Viewer {
    worker: Worker<Job, Wish>,
    decoders: Arc<Mutex<Decoders>>,
}

#[derive(Debug)]
enum Job {
    Track(PeerId, Track, bool),
    Frame(PeerId, Frame),
    Lost(PeerId, TrackId, u32),
    TrackEnded(PeerId, TrackId),
    PeerLeft(PeerId),
}

impl Viewer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        Viewer::start_with(Decoders::default())
    }

    /// Starts the thread with these decoders.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_with(decoders: Decoders) -> std::io::Result<Self> {
        let decoders = Arc::new(Mutex::new(decoders));
        let shared = decoders.clone();
        let worker = Worker::start("decoding", move |jobs, wishes| decode(jobs, &wishes, &shared))?;
        Ok(Viewer { worker, decoders })
    }

    /// Something happened in the room. Gives the track whose frame had to be left out, if one had to.
    pub fn handle(&self, event: &Event) -> Option<(PeerId, TrackId)> {
        let job = match event {
            Event::Track { peer, track, is_same_clock } => Job::Track(*peer, track.clone(), *is_same_clock),
            Event::Frame { peer, frame } => Job::Frame(*peer, frame.clone()),
            Event::FramesLost { peer, track, count } => Job::Lost(*peer, *track, *count),
            Event::TrackEnded { peer, track } => Job::TrackEnded(*peer, *track),
            Event::PeerLeft { peer, .. } => Job::PeerLeft(*peer),
            Event::Joined { .. }
            | Event::RendezvousLost { .. }
            | Event::Rules(_)
            | Event::Excluded(_)
            | Event::PeerJoined { .. }
            | Event::KeyFrameWanted { .. }
            | Event::Bitrate(_)
            | Event::SmallerBitrate { .. }
            | Event::Path { .. }
            | Event::Said { .. }
            | Event::Bulk { .. }
            | Event::BulkArrived { .. }
            | Event::Trouble { .. } => return None,
        };
        let left_out = match &job {
            Job::Frame(peer, frame) => Some((*peer, frame.track)),
            Job::Track(..) | Job::Lost(..) | Job::TrackEnded(..) | Job::PeerLeft(_) => None,
        };
        if self.worker.try_do(job) { None } else { left_out }
    }

    /// The next wish of the decoders.
    pub async fn wish(&mut self) -> Wish {
        self.worker.news().await
    }

    /// Adds what is known from decoding.
    pub fn complete(&self, peer: PeerId, stats: &mut Stats) {
        let mut decoders = self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let decoded = decoders.decoded(peer);
        stats.decode_errors = decoded.errors;
        stats.undecodable = decoded.undecodable;
        let millis = |micros: u64| tenths(micros as f64 / 1000.0);
        let [pictures, sound] = decoded.take_latencies();
        stats.latency_ms = pictures.or(sound).map(millis);
        stats.sound_latency_ms = sound.map(millis);
    }
}

fn decode(mut jobs: mpsc::Receiver<Job>, wishes: &mpsc::UnboundedSender<Wish>, decoders: &Mutex<Decoders>) {
    while let Some(job) = jobs.blocking_recv() {
        let mut decoders = decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let wish = match job {
            Job::Track(peer, track, is_same_clock) => decoders.handle_track(peer, track, is_same_clock),
            Job::Frame(peer, frame) => decoders.handle_frame(peer, &frame, unix_micros_now),
            Job::Lost(peer, track, count) => {
                decoders.handle_lost(peer, track, count);
                None
            }
            Job::TrackEnded(peer, track) => {
                decoders.handle_track_ended(peer, track);
                None
            }
            Job::PeerLeft(peer) => {
                decoders.handle_peer_left(peer);
                None
            }
        };
        if wish.is_some_and(|wish| wishes.send(wish).is_err()) {
            return;
        }
    }
}
