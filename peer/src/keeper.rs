//! Records what comes, on a thread of its own: a slow disk never holds up the call.

use std::path::PathBuf;

use meipo::media::{Frame, Track};
use meipo::net::clock::Clock;
use meipo::node::Event;
use meipo::units::{PeerId, TrackId};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::params::RECORDING_TICK;
use crate::recordings::{Notice, Recordings};
use crate::worker::Worker;

/// The recording thread, seen from the call.
#[derive(Debug)]
pub struct Keeper {
    worker: Worker<Job, Notice>,
    tick: Interval,
}

#[derive(Debug)]
enum Job {
    Peer(PeerId, String),
    Track(PeerId, Track),
    Frame(PeerId, Frame),
    TrackEnded(PeerId, TrackId),
    PeerLeft(PeerId),
    Tick,
}

impl Keeper {
    /// Starts to record into `folder`, which is there.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(folder: PathBuf) -> std::io::Result<Self> {
        let worker = Worker::start("recording", move |jobs, notices| record(jobs, &notices, Recordings::new(folder)))?;
        let mut tick = interval(RECORDING_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Keeper { worker, tick })
    }

    /// Something happened in the room. `false` if it could not be recorded because the disk is too slow.
    pub fn handle(&self, event: &Event) -> bool {
        let job = match event {
            Event::PeerJoined { peer, name, .. } => Job::Peer(*peer, name.to_string()),
            Event::Track { peer, track, .. } => Job::Track(*peer, track.clone()),
            Event::Frame { peer, frame } => Job::Frame(*peer, frame.clone()),
            Event::TrackEnded { peer, track } => Job::TrackEnded(*peer, *track),
            Event::PeerLeft { peer, .. } => Job::PeerLeft(*peer),
            Event::Joined { .. }
            | Event::RendezvousLost { .. }
            | Event::Rules(_)
            | Event::Excluded(_)
            | Event::FramesLost { .. }
            | Event::KeyFrameWanted { .. }
            | Event::Bitrate(_)
            | Event::SmallerBitrate { .. }
            | Event::Path { .. }
            | Event::Said { .. }
            | Event::Bulk { .. }
            | Event::BulkArrived { .. }
            | Event::Trouble { .. } => return true,
        };
        self.worker.try_do(job)
    }

    /// The next notice. May be dropped and called again without losing anything.
    pub async fn notice(&mut self) -> Notice {
        loop {
            tokio::select! {
                notice = self.worker.news() => return notice,
                // When the thread is behind it has enough to do.
                _ = self.tick.tick() => drop(self.worker.try_do(Job::Tick)),
            }
        }
    }

    /// Finishes all files.
    pub async fn finish(self) -> Vec<Notice> {
        self.worker.finish().await
    }
}

fn record(mut jobs: mpsc::Receiver<Job>, notices: &mpsc::UnboundedSender<Notice>, mut recordings: Recordings) {
    let clock = Clock::start();
    let tell = |recordings: &mut Recordings| {
        for notice in recordings.take_notices() {
            // Whoever does not listen any more does not want to know.
            let _ = notices.send(notice);
        }
    };
    while let Some(job) = jobs.blocking_recv() {
        let now = clock.now();
        match job {
            Job::Peer(peer, name) => recordings.handle_peer(peer, &name),
            Job::Track(peer, track) => recordings.handle_track(peer, track),
            Job::Frame(peer, frame) => recordings.handle_frame(peer, frame, now),
            Job::TrackEnded(peer, track) => recordings.handle_track_ended(peer, track, now),
            Job::PeerLeft(peer) => recordings.handle_peer_left(peer, now),
            Job::Tick => recordings.handle_timeout(now),
        }
        tell(&mut recordings);
    }
    recordings.finish(clock.now());
    tell(&mut recordings);
}
