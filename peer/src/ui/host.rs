//! The page's side of a call: what it shows goes to the room, what the room shows goes to it.
//!
//! What the page says, the room's events and the time go in; messages for the page go into its outbox, and what the room
//! must be told is done at once. Without a page the call goes on, and the next one is told how it stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use meipo::media::{Frame, Track};
use meipo::net::Endpoint;
use meipo::net::clock::unix_micros_now;
use meipo::node::{Event, Order};
use meipo::units::{Bitrate, PeerId, Time, TrackId};
use meipo::wire::name::Name;

use super::file_desk::FileDesk;
use super::lanes::Lanes;
use super::memory::Memory;
use super::message::{EncodedChunk, FromPage, Media, PageSource, Publish, ToPage, peer_of, sound_message};
use super::outbox::Outbox;
use super::publications::{Announcement, Publications, ShowError};
use super::server::text_of;
use crate::events::{ErrorReport, Line, Report};
use crate::params::{LEVELS_EVERY, PAGE_LAYERS, PICTURES_REST_BELOW};
use crate::random;
use crate::talk::{ChatLine, News, Presence, Talk};
use crate::voice::{Block, Mixer, Volume};

/// The page's side of a call.
#[derive(Debug)]
pub struct Host {
    outbox: Option<Arc<Outbox>>,
    publications: Publications,
    lanes: Lanes,
    memory: Memory,
    mixer: Mixer,
    talk: Talk,
    files: FileDesk,
    /// What the person allows pictures to take; `None`: as much as the network carries.
    ceiling: Option<Bitrate>,
    /// What the network carries, once known.
    carried: Option<Bitrate>,
    blocks: u32,
    levels: BTreeMap<String, f32>,
}

impl Host {
    /// A call that begins now, as `me`, who is called `name`.
    pub fn new(me: PeerId, name: Name, ceiling: Option<Bitrate>, now: Time) -> Self {
        Host {
            outbox: None,
            publications: Publications::new(unix_micros_now()),
            lanes: Lanes::default(),
            memory: Memory::default(),
            mixer: Mixer::new(),
            talk: Talk::new(me, name, now),
            files: FileDesk::default(),
            ceiling,
            carried: None,
            blocks: 0,
            levels: BTreeMap::new(),
        }
    }

    /// Another page, or none, from now on. What the last one showed ends.
    pub fn set_page(&mut self, outbox: Option<Arc<Outbox>>, endpoint: &Endpoint) {
        self.outbox = outbox;
        self.publications.clear().into_iter().for_each(|track| endpoint.end(track));
        self.levels.clear();
        self.files.handle_page_gone();
        self.talk.set_presence(Presence { muted: true, camera: false, ..self.talk.presence() });
        self.send_talk(endpoint);
    }

    /// Tells a page that has come into a running call how it stands.
    pub fn recount(&mut self, endpoint: &Endpoint, now: Time) {
        self.memory.reports().for_each(|report| self.tell_report(report));
        for (lane, peer, track) in self.lanes.restart(now) {
            self.tell(&ToPage::Lane { lane, peer: peer.to_string(), track: track.0 });
            // What the last page did not show says nothing about this one.
            endpoint.want(peer, track, true);
            endpoint.request_key_frame(peer, track);
        }
        for (peer, presence) in self.talk.presences() {
            self.tell(&ToPage::State { peer: peer.to_string(), presence });
        }
        self.talk.lines().for_each(|line| self.tell(&self.chat(line)));
        self.outbox.iter().for_each(|outbox| self.files.recount(outbox));
    }

    /// Something was told to the person: the page tells it too.
    pub fn handle_report(&mut self, report: &Report) {
        self.memory.take(report);
        self.tell_report(report);
    }

    /// Something happened in the room.
    pub fn handle_event(&mut self, event: Event, endpoint: &Endpoint, now: Time) {
        match event {
            Event::PeerJoined { peer, name, .. } => {
                self.talk.handle_peer_joined(peer, name, now);
                self.files.handle_path(peer);
            }
            Event::PeerLeft { peer, .. } => {
                self.mixer.handle_peer_left(peer);
                self.lanes.handle_peer_left(peer);
                self.talk.handle_peer_left(peer, now);
                self.files.handle_peer_left(peer);
            }
            Event::Track { peer, track, .. } => self.handle_track(peer, &track),
            Event::TrackEnded { peer, track } => {
                self.mixer.handle_track_ended(peer, track);
                self.lanes.handle_track_ended(peer, track);
            }
            Event::Frame { peer, frame } => self.handle_frame(peer, &frame, endpoint, now),
            Event::FramesLost { peer, track, count } => self.mixer.handle_lost(peer, track, count),
            Event::KeyFrameWanted { track } => {
                if let Some(track) = self.publications.number_of(track) {
                    self.tell(&ToPage::Key { track });
                }
            }
            Event::Bitrate(rate) => {
                self.carried = Some(rate);
                self.tell_encoders();
            }
            Event::SmallerBitrate { track, rate } => self.tell_smaller(track, rate),
            Event::Path { peer, .. } => {
                self.talk.handle_path(peer);
                self.files.handle_path(peer);
            }
            Event::Said { peer, bytes } => {
                if !self.files.handle_said(peer, &bytes, now) {
                    self.talk.handle_said(peer, &bytes, now, unix_micros_now() / 1000);
                }
            }
            Event::Bulk { peer, transfer, offset, data } => self.files.handle_bulk(peer, transfer, offset, data),
            Event::BulkArrived { peer, transfer, bytes } => self.files.handle_arrived(peer, transfer, bytes),
            Event::Joined { .. }
            | Event::RendezvousLost { .. }
            | Event::Rules(_)
            | Event::Excluded(_)
            | Event::Trouble { .. } => {}
        }
        self.send_talk(endpoint);
    }

    /// Somebody begins to send a track: the mixer plays it, or the page gets a lane of pictures.
    fn handle_track(&mut self, peer: PeerId, track: &Track) {
        if let Err(error) = self.mixer.handle_track(peer, track) {
            self.complain(error.to_string());
        }
        match self.lanes.handle_track(peer, track) {
            Ok(Some(lane)) => self.tell(&ToPage::Lane { lane, peer: peer.to_string(), track: track.id.0 }),
            Ok(None) => {}
            Err(error) => self.complain(format!("pictures that cannot be shown: {error}")),
        }
    }

    /// A frame goes to the mixer if it is sound and to the page if it is a picture. What the page
    /// has no room for is not kept: its next picture is a key frame.
    fn handle_frame(&mut self, peer: PeerId, frame: &Frame, endpoint: &Endpoint, now: Time) {
        if !self.mixer.handle_frame(peer, frame)
            && let Some(message) = self.lanes.message(peer, frame)
            && !self.outbox.as_ref().is_some_and(|outbox| outbox.picture(message))
            && self.lanes.needs_key(peer, frame.track, now)
        {
            endpoint.request_key_frame(peer, frame.track);
        }
    }

    /// The page says something that concerns the call.
    pub async fn handle_page(&mut self, said: FromPage, endpoint: &Endpoint, now: Time) {
        match said {
            FromPage::Publish(publish) => self.publish(&publish, endpoint).await,
            FromPage::Unpublish { track } => match self.publications.unpublish(track) {
                Ok(id) => {
                    endpoint.end(id);
                    self.tell_encoders();
                }
                Err(error) => self.complain(error.to_string()),
            },
            FromPage::State(presence) => self.talk.set_presence(presence),
            FromPage::Chat { text } => self.say(text, now),
            FromPage::Volume { peer, volume } => match (peer_of(&peer), Volume::new(volume)) {
                (Some(peer), Some(volume)) => self.mixer.set_volume(peer, volume),
                (None, _) => self.complain("a volume for nobody".to_owned()),
                (_, None) => self.complain(format!("a volume of {volume}; 0 to 2 are possible")),
            },
            FromPage::Want { peer, track, wanted } => match peer_of(&peer) {
                Some(peer) => endpoint.want(peer, TrackId(track), wanted),
                None => self.complain("a wish for a track of nobody".to_owned()),
            },
            FromPage::NeedKey { peer, track } => {
                if let Some(peer) = peer_of(&peer)
                    && self.lanes.needs_key(peer, TrackId(track), now)
                {
                    endpoint.request_key_frame(peer, TrackId(track));
                }
            }
            FromPage::File(wish) => {
                if let Err(error) = self.files.handle_page(wish) {
                    self.complain(error.to_string());
                }
            }
            FromPage::MuteAll { on } => endpoint.order(Order::Mute(on)),
            FromPage::Lock { on } => endpoint.order(Order::Lock(on)),
            FromPage::Remove { peer } => match peer_of(&peer) {
                Some(peer) => endpoint.order(Order::Remove(peer)),
                None => self.complain("nobody is to be removed".to_owned()),
            },
            FromPage::Hello { .. } | FromPage::Join { .. } | FromPage::Ping { .. } | FromPage::Leave => {}
        }
        self.send_talk(endpoint);
    }

    /// The page shows something.
    pub fn handle_media(&mut self, media: Media, endpoint: &Endpoint) {
        let shown = match media {
            Media::Picture(chunk) => self.picture(chunk),
            Media::Sound { track, captured_unix_us, block } => self.sound(track, &block, captured_unix_us),
            Media::File { ticket, data } => {
                self.files.handle_block(ticket, data);
                return self.files.perform(endpoint, self.outbox.as_deref());
            }
        };
        match shown {
            Ok(Some(frame)) => endpoint.send(frame),
            // What was on its way when a track ended is nobody's mistake.
            Ok(None) | Err(ShowError::Unknown(_)) => {}
            Err(error) => self.complain(error.to_string()),
        }
    }

    /// 10 ms have passed: the page gets the next block of sound.
    pub fn handle_block(&mut self, endpoint: &Endpoint, now: Time) {
        let Some(outbox) = self.outbox.clone() else { return };
        outbox.sound(sound_message(&self.mixer.mix(), unix_micros_now()));
        self.blocks = self.blocks.wrapping_add(1);
        if self.blocks.is_multiple_of(LEVELS_EVERY) {
            self.tell_levels();
            for (peer, track) in self.lanes.overdue(now) {
                endpoint.request_key_frame(peer, track);
            }
        }
    }

    /// Tells the page that it did something that cannot be.
    pub fn complain(&self, message: String) {
        self.tell_report(&Report::Error(ErrorReport { message, peer: None, name: None }));
    }

    /// Tells the page something.
    pub fn tell(&self, message: &ToPage) {
        if let Some(outbox) = &self.outbox {
            outbox.tell(text_of(message));
        }
    }

    fn tell_report(&self, report: &Report) {
        if let Some(outbox) = &self.outbox {
            outbox.tell(text_of(&Line { report: report.clone(), at: None }));
        }
    }

    async fn publish(&mut self, publish: &Publish, endpoint: &Endpoint) {
        let announced = match self.publications.publish(publish) {
            Ok(Announcement::Track(track)) => endpoint.publish(track).await,
            Ok(Announcement::Smaller { of, id }) => endpoint.publish_smaller(of, id).await,
            Err(error) => return self.complain(error.to_string()),
        };
        if let Err(error) = announced {
            if let Ok(track) = self.publications.unpublish(publish.track) {
                endpoint.end(track);
            }
            return self.complain(error.to_string());
        }
        self.tell_encoders();
    }

    fn say(&mut self, text: String, now: Time) {
        if let Err(error) = self.talk.say(text, random::id(), now, unix_micros_now() / 1000) {
            self.complain(error.to_string());
        }
    }

    fn picture(&mut self, chunk: EncodedChunk) -> Result<Option<meipo::media::Frame>, ShowError> {
        self.publications.picture(chunk, unix_micros_now())
    }

    /// A microphone that is off sends nothing, whatever the page does.
    fn sound(&mut self, track: u16, block: &Block, captured: u64) -> Result<Option<meipo::media::Frame>, ShowError> {
        let is_microphone = self.publications.source_of(track) == Some(PageSource::Microphone);
        if is_microphone && self.talk.presence().muted {
            return Ok(None);
        }
        self.publications.sound(track, block, captured, unix_micros_now())
    }

    /// What the network carries is shared by all pictures alike.
    fn tell_encoders(&self) {
        let Some(carried) = self.carried else { return };
        let count = self.publications.pictures().count().max(1) as u64;
        let share = Bitrate::from_bits(carried.as_bits() / count);
        let wanted = self.ceiling.map_or(share, |ceiling| share.min(ceiling));
        for track in self.publications.pictures() {
            self.tell_encoder(track, wanted, PAGE_LAYERS, wanted < PICTURES_REST_BELOW);
        }
    }

    /// The smaller size is encoded while somebody needs it.
    fn tell_smaller(&self, track: TrackId, rate: Option<Bitrate>) {
        let Some(track) = self.publications.number_of(track) else { return };
        let wanted = rate.map(|rate| self.ceiling.map_or(rate, |ceiling| rate.min(ceiling)));
        self.tell_encoder(track, wanted.unwrap_or_default(), 1, wanted.is_none());
    }

    fn tell_encoder(&self, track: u16, rate: Bitrate, layers: u8, rest: bool) {
        self.tell(&ToPage::Encode { track, bitrate_kbps: rate.as_bits() / 1000, layers, rest });
    }

    fn tell_levels(&mut self) {
        let rounded = |level: f32| (level * 100.0).round() / 100.0;
        let levels: BTreeMap<String, f32> =
            self.mixer.levels().into_iter().map(|(peer, level)| (peer.to_string(), rounded(level))).collect();
        if levels != self.levels {
            self.tell(&ToPage::Levels { levels: levels.clone() });
            self.levels = levels;
        }
    }

    fn send_talk(&mut self, endpoint: &Endpoint) {
        self.files.perform(endpoint, self.outbox.as_deref());
        while let Some((to, bytes)) = self.talk.poll_transmit() {
            endpoint.say(to, bytes);
        }
        while let Some(news) = self.talk.poll_news() {
            match news {
                News::Chat(line) => self.tell(&self.chat(&line)),
                News::Presence(peer, presence) => self.tell(&ToPage::State { peer: peer.to_string(), presence }),
            }
        }
    }

    fn chat(&self, line: &ChatLine) -> ToPage {
        ToPage::Chat {
            id: format!("{:016x}", line.id),
            peer: (!self.talk.is_ours(line)).then(|| line.author.clone()),
            name: line.name.to_string(),
            text: line.text.clone(),
            at: line.at,
        }
    }
}
