//! Unit tests of what goes to one peer.

use super::*;
use crate::media::Frame;
use crate::media::packetize::packetize;
use crate::params::{ECHO_AFTER, PACKET_PAYLOAD, REPEAT_DEADLINE, REPEAT_TWICE};
use crate::units::{CaptureTime, FrameNumber};
use crate::wire::packet::HEADER_LEN;
use crate::wire::repair::{Bundle, KIND_BUNDLE, KIND_PARITY};
use crate::wire::track::FrameKind;

const LATER: Time = Time::from_millis(1000);
const RTT: Duration = Duration::from_millis(50);

fn frame(track: u16, number: u32, len: usize) -> Packets {
    let frame = Frame {
        track: TrackId(track),
        number: FrameNumber(number),
        captured: CaptureTime::default(),
        kind: FrameKind::Key,
        temporal_layer: 0,
        needs: 0,
        data: Bytes::from(vec![1; len]),
    };
    packetize(&frame).unwrap().into()
}

/// The peer reports, who is alone.
fn report_to(sender: &mut Sender, feedback: &Feedback, now: Time) {
    let mut coupling = Coupling::new(Time::ZERO);
    let uplink = Shared { coupling: &mut coupling, peer: PeerId::from_bytes([1; 32]), media: Bitrate::default() };
    sender.handle_feedback(feedback, RTT, uplink, now);
}

fn drain(sender: &mut Sender, now: Time) -> Vec<Bytes> {
    std::iter::from_fn(|| sender.poll(now, now)).collect()
}

/// When it wants to be asked again, now that all has gone that may.
fn timeout(sender: &mut Sender, now: Time) -> Option<Time> {
    sender.handle_flushed(now);
    sender.poll_timeout()
}

/// A report about packets from 0 on: arrived or not.
fn report(fates: &[bool]) -> Feedback {
    let arrival = |(at, arrived): (usize, &bool)| arrived.then(|| u32::try_from(at).unwrap() * 1000);
    Feedback { first: 0, arrivals: fates.iter().enumerate().map(arrival).collect() }
}

#[test]
fn a_picture_goes_at_once_and_a_large_one_at_the_pace() {
    let mut sender = Sender::new(Time::ZERO);
    sender.push(frame(1, 0, 4000), Class::Picture, LATER);
    assert_eq!(drain(&mut sender, Time::ZERO).len(), 4);
    sender.push(frame(1, 1, 100_000), Class::Picture, LATER);
    let at_once = drain(&mut sender, Time::ZERO).len();
    assert!(at_once < 20, "{at_once}");
    let next = timeout(&mut sender, Time::ZERO).unwrap();
    assert!(next > Time::ZERO);
    assert!(!drain(&mut sender, next).is_empty());
}

#[test]
fn sound_goes_past_a_picture_that_waits_for_the_pace() {
    let mut sender = Sender::new(Time::ZERO);
    sender.push(frame(1, 0, 100_000), Class::Picture, LATER);
    drain(&mut sender, Time::ZERO);
    sender.push(frame(2, 0, 80), Class::Sound, LATER);
    assert_eq!(drain(&mut sender, Time::ZERO).len(), 1);
}

#[test]
fn what_comes_while_the_pace_has_no_room_is_not_forgotten() {
    let mut sender = Sender::new(Time::ZERO);
    while sender.may_send(Time::ZERO) {
        sender.push(frame(2, 0, 1000), Class::Sound, LATER);
        assert_eq!(drain(&mut sender, Time::ZERO).len(), 1);
    }
    sender.push(frame(1, 0, 100), Class::Picture, LATER);
    assert_eq!(sender.urgency(Time::ZERO), None);
    let next = timeout(&mut sender, Time::ZERO).unwrap();
    assert_eq!(drain(&mut sender, next).len(), 1);
}

#[test]
fn a_full_uplink_holds_back_pictures_but_no_sound() {
    let mut sender = Sender::new(Time::ZERO);
    sender.push(frame(1, 0, 100), Class::Picture, LATER);
    sender.push(frame(2, 0, 80), Class::Sound, LATER);
    let free = Time::from_millis(30);
    assert!(sender.poll(free, Time::ZERO).is_some());
    assert_eq!(sender.poll(free, Time::ZERO), None);
    assert_eq!(timeout(&mut sender, Time::ZERO), Some(free));
    assert!(sender.poll(free, free).is_some());
}

#[test]
fn a_lost_sound_is_sent_again() {
    let mut sender = Sender::new(Time::ZERO);
    for number in 0..5 {
        sender.push(frame(2, number, 80), Class::Sound, LATER);
    }
    let sent = drain(&mut sender, Time::ZERO);
    report_to(&mut sender, &report(&[true, false, true, true, true]), Time::from_millis(60));
    let again = drain(&mut sender, Time::from_millis(60));
    let (first, second) = (Packet::decode(&sent[1]).unwrap(), Packet::decode(&again[0]).unwrap());
    assert_eq!((first.header.track, first.header.frame), (second.header.track, second.header.frame));
}

#[test]
fn a_lost_packet_is_sent_again_while_it_is_of_use() {
    let mut sender = Sender::new(Time::ZERO);
    sender.push(frame(1, 0, 5000), Class::Picture, LATER);
    let sent = drain(&mut sender, Time::ZERO);
    assert_eq!(sent.len(), 5);
    report_to(&mut sender, &report(&[true, false, true, true, true]), Time::from_millis(60));
    let again = drain(&mut sender, Time::from_millis(60));
    assert_eq!(again.len(), 1);
    let later = Time::from_millis(60) + REPEAT_TWICE;
    assert_eq!(timeout(&mut sender, Time::from_millis(60)), Some(later));
    let twice = drain(&mut sender, later);
    assert_eq!(Packet::decode(&twice[0]).unwrap().payload, Packet::decode(&again[0]).unwrap().payload);
    let (first, second) = (Packet::decode(&sent[1]).unwrap(), Packet::decode(&again[0]).unwrap());
    assert_eq!(second.payload, first.payload);
    assert_eq!(second.header.hop_sequence, 5, "a repetition is a packet of its own");
    assert!(sender.sent().repair > 0);
}

#[test]
fn a_lost_packet_of_a_frame_that_is_past_is_not_sent_again() {
    let mut sender = Sender::new(Time::ZERO);
    sender.push(frame(1, 0, 5000), Class::Picture, LATER);
    drain(&mut sender, Time::ZERO);
    let late = Time::ZERO + REPEAT_DEADLINE;
    report_to(&mut sender, &report(&[true, false, true, true, true]), late);
    assert!(drain(&mut sender, late).is_empty());
}

/// A sender that has sent sounds of so many bytes over a way that loses one packet in 14, so few that it is not taken for
/// congestion; the number of the next sound, and when.
fn on_a_lossy_way(len: usize) -> (Sender, u32, Time) {
    let mut sender = Sender::new(Time::ZERO);
    let (mut number, mut sequence, mut now) = (0, 0, Time::ZERO);
    for round in 0..4 {
        for _ in 0..200 {
            sender.push(frame(2, number, len), Class::Sound, now + LATER.since(Time::ZERO));
            number += 1;
        }
        let sent = drain(&mut sender, now);
        assert!(round > 0 || sent.iter().all(|datagram| datagram[0] == 1));
        let fates: Vec<bool> = (0..sent.len()).map(|at| at % 14 != 0).collect();
        report_to(&mut sender, &Feedback { first: sequence, ..report(&fates) }, now + RTT);
        sequence += u32::try_from(sent.len()).unwrap();
        now += Duration::from_secs(2);
    }
    (sender, number, now)
}

#[test]
fn on_a_lossy_way_sound_carries_copies_and_pictures_parity() {
    let (mut sender, number, mut now) = on_a_lossy_way(80);
    sender.push(frame(2, number, 80), Class::Sound, now + LATER.since(Time::ZERO));
    sender.push(frame(1, 0, 3000), Class::Picture, now + LATER.since(Time::ZERO));
    let mut kinds = Vec::new();
    while !sender.is_empty() {
        kinds.extend(drain(&mut sender, now).iter().map(|datagram| datagram[0]));
        now = timeout(&mut sender, now).unwrap().max(now);
        sender.handle_timeout(now);
    }
    assert_eq!(kinds.first(), Some(&KIND_BUNDLE));
    assert!(kinds.contains(&KIND_PARITY), "{kinds:?}");
}

#[test]
fn on_a_lossy_way_with_room_sound_goes_twice_and_not_in_the_same_moment() {
    let (mut sender, number, now) = on_a_lossy_way(80);
    sender.estimator.handle_probe(Bitrate::from_kilobits(2000), now);
    // Until the echoes of before have gone.
    let quiet = now + ECHO_AFTER;
    drain(&mut sender, quiet);
    sender.push(frame(2, number, 80), Class::Sound, quiet + LATER.since(Time::ZERO));
    let first = drain(&mut sender, quiet);
    assert_eq!(first.len(), 1);
    assert_eq!(timeout(&mut sender, quiet), Some(quiet + ECHO_AFTER));
    let echo = drain(&mut sender, quiet + ECHO_AFTER);
    let [first, echo] = [&first[0], &echo[0]].map(|datagram| Bundle::decode(datagram).unwrap());
    assert_eq!(echo.hop_sequence, first.hop_sequence + 1, "a packet of its own");
    assert_eq!(echo.packets, first.packets);
}

#[test]
fn sound_of_many_bits_fits_in_datagrams_whatever_is_lost() {
    // Opus at 64, 256 and 510 kbit/s in frames of 20 ms, and of 60 ms at the last.
    for len in [160, 640, 1275, 3825] {
        let (mut sender, number, now) = on_a_lossy_way(len);
        sender.push(frame(2, number, len), Class::Sound, now + LATER.since(Time::ZERO));
        let sent = drain(&mut sender, now);
        let longest = sent.iter().map(Bytes::len).max().unwrap();
        assert!(longest <= PACKET_PAYLOAD + HEADER_LEN, "{longest} bytes of sounds of {len}");
        assert!(sent.iter().map(Bytes::len).sum::<usize>() > len, "all of it goes");
    }
}
