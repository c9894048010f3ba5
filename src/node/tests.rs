mod rules;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use crate::params::{KEY_FRAME_INTERVAL, MAX_ROOM_MEMBERS, MAX_SAID_LEN, MAX_TRACKS};
use crate::trust::{MembershipTag, PairSecret, RoomSecret};
use crate::units::{CaptureTime, FrameNumber, RoomId, SessionId};
use crate::wire::codec;
use crate::wire::control::{
    CandidateKind, FromRendezvous, Introduction, LeftReason, Mapping, Member, Reachability, RelayOffer, ToPeer,
};
use crate::wire::packet::{Header, Packet};
use crate::wire::relay::{RelayKey, Side};

#[test]
fn a_member_is_introduced_and_spoken_to() {
    let mut node = joined();
    introduce(&mut node, member(2));
    assert!(node.expects(&peer(2)) && node.accepts(&peer(2)));
    assert!(node.poll_transmit().is_some(), "its ways are probed");
}

#[test]
fn whoever_has_a_forged_a_swapped_or_an_empty_tag_gets_no_packet() {
    let stranger = RoomSecret::from_bytes([66; 16]);
    for tag in [stranger.tag(&room(), &peer(2)), SECRET.tag(&room(), &peer(3)), MembershipTag::from_bytes([0; 32])] {
        let mut node = joined();
        introduce(&mut node, Member { tag, ..member(2) });
        assert!(!node.expects(&peer(2)) && !node.accepts(&peer(2)));
        assert_eq!(node.poll_transmit(), None);
        assert_eq!(node.poll_action(), None);
        assert!(matches!(node.poll_event(), Some(Event::Trouble { .. })));
    }
}

#[test]
fn we_are_not_introduced_to_ourselves() {
    let mut node = joined();
    introduce(&mut node, member(1));
    assert!(!node.expects(&peer(1)));
}

#[test]
fn a_room_of_as_many_members_as_allowed_is_dealt_with_and_one_more_is_ignored() {
    let mut node = joined();
    for nth in 0..=MAX_ROOM_MEMBERS {
        introduce(&mut node, member(10 + u8::try_from(nth).unwrap()));
    }
    let known = (0..=MAX_ROOM_MEMBERS).filter(|nth| node.expects(&peer(10 + u8::try_from(*nth).unwrap())));
    assert_eq!(known.count(), MAX_ROOM_MEMBERS);
}

#[test]
fn a_peer_that_started_anew_has_left_and_joins_again() {
    let mut node = connected();
    introduce(&mut node, Member { instance: 99, ..member(2) });
    let events = events(&mut node);
    assert!(events.contains(&Event::PeerLeft { peer: peer(2), reason: LeftReason::Lost }), "{events:?}");
    assert!(node.expects(&peer(2)));
}

#[test]
fn a_peer_that_only_the_rendezvous_has_lost_stays() {
    let mut node = connected();
    tell(&mut node, &FromRendezvous::Left { peer: peer(2), reason: LeftReason::Lost });
    assert!(node.expects(&peer(2)));
    node.handle_peer_closed(peer(2), None, NOW);
    assert!(!node.expects(&peer(2)), "until its connection is gone too");
}

#[test]
fn a_peer_that_leaves_is_gone_at_once() {
    let mut node = connected();
    tell(&mut node, &FromRendezvous::Left { peer: peer(2), reason: LeftReason::Left });
    assert!(events(&mut node).contains(&Event::PeerLeft { peer: peer(2), reason: LeftReason::Left }));
    assert_eq!(node.poll_timeout().filter(|at| *at <= NOW), None);
}

#[test]
fn a_lost_connection_is_opened_again_by_whoever_the_newest_introduction_names() {
    let mut node = connected();
    tell(&mut node, &introduction(member(2), Role::Opens));
    std::iter::from_fn(|| node.poll_action()).for_each(drop);
    node.handle_peer_closed(peer(2), None, NOW);
    node.handle_timeout(NOW + crate::params::PEER_RETRY);
    let opens = std::iter::from_fn(|| node.poll_action()).any(|action| action == Action::Connect(Party::Peer(peer(2))));
    assert!(opens);
}

#[test]
fn a_peer_is_there_when_it_has_spoken_and_not_when_only_our_handshake_is_done() {
    let mut node = joined();
    introduce(&mut node, member(2));
    node.handle_peer_connected(peer(2), NOW);
    assert_eq!(events(&mut node), []);
    node.handle_peer_closed(peer(2), Some(Close::NotAMember), NOW);
    assert_eq!(events(&mut node), [], "who refused us was never there");
    node.handle_peer_connected(peer(2), NOW);
    node.handle_peer_message(peer(2), &body(&codec::encode(&ToPeer::Hello { clock: 0 })), NOW).unwrap();
    let joined = |event: &Event| matches!(event, Event::PeerJoined { .. });
    assert!(events(&mut node).iter().any(joined));
}

#[test]
fn messages_and_media_of_strangers_are_of_no_effect() {
    let mut node = joined();
    let message = body(&codec::encode(&ToPeer::Track(track(1))));
    assert_eq!(node.handle_peer_message(peer(5), &message, NOW), Ok(()));
    node.handle_peer_datagram(peer(5), &packet(1, 0), NOW);
    assert_eq!(node.poll_event(), None);
}

#[test]
fn a_peer_announces_as_many_tracks_as_allowed_and_one_more_is_ignored() {
    let mut node = connected();
    for id in 0..=u16::try_from(MAX_TRACKS).unwrap() {
        let message = body(&codec::encode(&ToPeer::Track(track(id))));
        node.handle_peer_message(peer(2), &message, NOW).unwrap();
    }
    let tracks = events(&mut node).into_iter().filter(|event| matches!(event, Event::Track { .. }));
    assert_eq!(tracks.count(), MAX_TRACKS);
}

#[test]
fn the_highest_frame_number_ends_nothing_but_its_own_track() {
    let mut node = connected();
    let message = body(&codec::encode(&ToPeer::Track(track(1))));
    node.handle_peer_message(peer(2), &message, NOW).unwrap();
    for number in [0, u32::MAX, 1, u32::MAX - 1, 2] {
        node.handle_peer_datagram(peer(2), &packet(1, number), NOW);
        node.handle_timeout(NOW + Duration::from_secs(2));
    }
    node.handle_peer_datagram(peer(2), &packet(2, 0), NOW);
    assert!(node.expects(&peer(2)));
}

#[test]
fn a_rendezvous_that_refuses_us_is_not_asked_again_but_one_that_is_full_after_a_restart_is() {
    let mut refused = Node::new(config(), RENDEZVOUS);
    refused.join(NOW);
    refused.handle_rendezvous_closed("full".to_owned(), Some(Close::Limit), NOW);
    assert_eq!(refused.poll_timeout(), None);
    let mut known = joined();
    known.handle_rendezvous_closed("full".to_owned(), Some(Close::Limit), NOW);
    assert!(known.poll_timeout().is_some());
}

#[test]
fn no_frame_goes_to_a_peer_before_its_connection_is_up() {
    let mut node = joined();
    introduce(&mut node, member(2));
    node.publish(track(1)).unwrap();
    node.send_frame(&frame(1, 0), NOW).unwrap();
    assert_eq!(node.poll_datagram(&peer(2), NOW), None);
    node.handle_peer_connected(peer(2), NOW);
    assert!(node.poll_datagram(&peer(2), NOW).is_some(), "then it gets what is kept for late joiners");
}

#[test]
fn who_comes_late_gets_what_is_fresh_or_a_new_key_frame_but_a_file_has_none_to_give() {
    let late = |source: TrackSource, after: Duration| {
        let mut node = joined();
        introduce(&mut node, member(2));
        node.publish(Track { source, ..track(1) }).unwrap();
        node.send_frame(&frame(1, 0), NOW).unwrap();
        node.handle_peer_connected(peer(2), NOW + after);
        let asks = events(&mut node).contains(&Event::KeyFrameWanted { track: TrackId(1) });
        (node.poll_datagram(&peer(2), NOW + after).is_some(), asks)
    };
    let fresh = KEY_FRAME_INTERVAL - Duration::from_micros(1);
    assert_eq!(late(TrackSource::Camera, fresh), (true, false));
    assert_eq!(late(TrackSource::Camera, KEY_FRAME_INTERVAL), (false, true));
    assert_eq!(late(TrackSource::File, KEY_FRAME_INTERVAL), (true, false));
}

#[test]
fn what_programs_say_reaches_those_who_are_connected_and_no_more_than_fits() {
    let mut node = connected();
    std::iter::from_fn(|| node.poll_action()).for_each(drop);
    let said = ToPeer::Said { bytes: Bytes::from_static(b"hi") };
    node.say(None, Bytes::from_static(b"hi")).unwrap();
    let told: Vec<_> = std::iter::from_fn(|| node.poll_action()).collect();
    assert_eq!(told, [Action::Tell(Party::Peer(peer(2)), codec::encode(&said))]);
    node.handle_peer_message(peer(2), &body(&codec::encode(&said)), NOW).unwrap();
    assert_eq!(events(&mut node), [Event::Said { peer: peer(2), bytes: Bytes::from_static(b"hi") }]);
    let long = Bytes::from(vec![0; MAX_SAID_LEN + 1]);
    assert!(node.say(None, long.clone()).is_err());
    let too_long = body(&codec::encode(&ToPeer::Said { bytes: long }));
    node.handle_peer_message(peer(2), &too_long, NOW).unwrap();
    assert!(matches!(events(&mut node).as_slice(), [Event::Trouble { .. }]));
}

#[test]
fn a_change_of_our_addresses_is_told_and_our_nat_is_asked_anew() {
    let mut node = joined();
    node.handle_addresses(vec![candidate(1)], NOW);
    std::iter::from_fn(|| node.poll_action()).for_each(drop);
    node.handle_addresses(vec![candidate(2)], NOW);
    assert!(std::iter::from_fn(|| node.poll_action()).any(|action| action == Action::Ping(Party::Rendezvous)));
    let asked: Vec<_> = std::iter::from_fn(|| node.poll_transmit()).collect();
    assert!(asked.iter().any(|sent| matches!(sent, Transmit::To(to, _) if *to == ALTERNATE)), "{asked:?}");
}

fn config() -> NodeConfig {
    NodeConfig::new(peer(1), SECRET, "me".parse().unwrap(), 1)
}

/// A node in a room of its own.
fn joined() -> Node {
    joined_as(config())
}

fn joined_as(config: NodeConfig) -> Node {
    let mut node = Node::new(config, RENDEZVOUS);
    node.join(NOW);
    node.handle_rendezvous_connected(NOW);
    tell(&mut node, &FromRendezvous::Welcome { observed: OBSERVED, stun_alternate: Some(ALTERNATE) });
    std::iter::from_fn(|| node.poll_action()).for_each(drop);
    std::iter::from_fn(|| node.poll_transmit()).for_each(drop);
    events(&mut node);
    node
}

/// A node that speaks with peer 2.
fn connected() -> Node {
    let mut node = joined();
    introduce(&mut node, member(2));
    node.handle_peer_connected(peer(2), NOW);
    node.handle_peer_message(peer(2), &body(&codec::encode(&ToPeer::Hello { clock: 0 })), NOW).unwrap();
    events(&mut node);
    node
}

fn introduce(node: &mut Node, member: Member) {
    tell(node, &introduction(member, Role::Accepts));
}

fn introduction(member: Member, role: Role) -> FromRendezvous {
    let session = SessionId(u32::from(member.id.as_bytes()[0]));
    let token = RelayKey::from_bytes([1; 32]).token(session, Side::First, u64::MAX);
    FromRendezvous::Introduction(Box::new(Introduction {
        peer: member,
        pair: PairSecret::from_bytes([7; 32]),
        role,
        reachability: Reachability {
            candidates: vec![candidate(9)],
            relay_only: false,
            mapping: Mapping::EndpointIndependent,
        },
        relays: vec![RelayOffer { relay: RelayAddress::Rendezvous, session, token }],
    }))
}

fn tell(node: &mut Node, message: &FromRendezvous) {
    node.handle_rendezvous_message(&body(&codec::encode(message)), NOW).unwrap();
}

/// The body of a message as the stream delivers it.
fn body(message: &Bytes) -> Bytes {
    let mut reader = codec::MessageReader::default();
    reader.push(&codec::preface());
    reader.push(message);
    reader.next_body().unwrap().unwrap()
}

fn events(node: &mut Node) -> Vec<Event> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

fn peer(nth: u8) -> PeerId {
    PeerId::from_bytes([nth; 32])
}

fn member(nth: u8) -> Member {
    let name = "somebody".parse().unwrap();
    Member { id: peer(nth), name, tag: SECRET.tag(&room(), &peer(nth)), instance: 1, receives: true, host: None }
}

fn room() -> RoomId {
    SECRET.claim(None).room_id()
}

fn candidate(nth: u8) -> Candidate {
    Candidate { kind: CandidateKind::Host, address: SocketAddr::new([203, 0, 113, nth].into(), 4000) }
}

fn track(id: u16) -> Track {
    Track {
        id: TrackId(id),
        kind: TrackKind::Video { width: 640, height: 480, millihertz: 30_000 },
        source: TrackSource::Camera,
        codec: "avc1.42e01f".to_owned(),
        description: Bytes::new(),
        epoch_unix_us: 0,
    }
}

fn frame(id: u16, number: u32) -> Frame {
    Frame {
        track: TrackId(id),
        number: FrameNumber(number),
        captured: CaptureTime::from_micros(0),
        kind: FrameKind::Key,
        temporal_layer: 0,
        needs: 0,
        data: Bytes::from_static(b"picture"),
    }
}

fn packet(track: u16, number: u32) -> Bytes {
    let captured = CaptureTime::from_micros(u64::MAX - u64::from(number));
    let header = Header { hop_sequence: number & 0xffff, captured, ..Header::alone(track, number) };
    Packet { header, payload: Bytes::from_static(b"picture") }.encode()
}

const NOW: Time = Time::from_millis(5000);
const SECRET: RoomSecret = RoomSecret::from_bytes([3; 16]);
const RENDEZVOUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), 1935);
const ALTERNATE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 2)), 1936);
const OBSERVED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 33)), 5000);
