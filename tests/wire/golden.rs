//! The bytes of every message, as literals.
//!
//! A test that fails here says that the wire format has changed: then the protocol version must change with it.

use std::net::SocketAddr;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use meipo::trust::host::{HostId, HostKey, HostPass};
use meipo::trust::rules::{Rules, SignedRules};
use meipo::trust::{MembershipTag, PairSecret, ProbeKey, RoomClaim};
use meipo::units::{CaptureTime, FrameNumber, PeerId, RoomId, SessionId, TrackId};
use meipo::wire::codec;
use meipo::wire::control::{
    Candidate, CandidateKind, FromRendezvous, Hello, Introduction, LeftReason, Mapping, Member, Reachability,
    RelayAddress, RelayOffer, Role, ToPeer, ToRendezvous,
};
use meipo::wire::packet::{self, Packet};
use meipo::wire::relay::{self, RelayKey, RelayPacket, RelayToken, Side};
use meipo::wire::stun::{self, ChangeRequest, TransactionId};
use meipo::wire::track::{FrameKind, Track, TrackKind, TrackSource};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[test]
fn the_preface_opens_every_stream() {
    expect("preface", &codec::preface(), "6d6569706f200002");
}

#[test]
fn what_peers_say_to_the_rendezvous() {
    let hello = ToRendezvous::Hello(Hello {
        room: RoomClaim::from_parts([0x11; 32], Some(HostId::from_bytes([0x88; 32]))),
        tag: MembershipTag::from_bytes([0x22; 32]),
        name: "alice".parse().unwrap(),
        instance: 0x0102_0304_0506_0708,
        receives: true,
        host: Some(pass()),
        reachability: reachability(),
    });
    message(
        "Hello",
        &hello,
        concat!(
            "00de0011111111111111111111111111111111111111111111111111111111111111110188888888",
            "88888888888888888888888888888888888888888888888888888888222222222222222222222222",
            "222222222222222222222222222222222222222205616c696365fd080706050403020101013c2672",
            "a0c1d4f2d3a3bded9b03dffa9e2c93b9f00e7bf8807e3547dd6979bac3d7fd969e0779bd2bdd298f",
            "0ca7f7925ddb55d7ded4f4f504fe0ed026a38f4f0e030000c0000201fb8f070100c0000201fb8f07",
            "020120010db8000000000000000000000001fbbb01000302",
        ),
    );
    let nowhere = Reachability { candidates: Vec::new(), relay_only: true, mapping: Mapping::Unknown };
    message("Candidates", &ToRendezvous::Candidates(nowhere), "000401000100");
    message(
        "Rules",
        &ToRendezvous::Rules(rules()),
        concat!(
            "00a60211111111111111111111111111111111111111111111111111111111111111110701010133",
            "3333333333333333333333333333333333333333333333333333333333333301aaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa24b0c928bab187720b7ca646895c4af9",
            "e500d33acfeb50dbbd7dab20167716d57d4f95e2bea6d3e60147030afc7ee0807daad16f78b34d94",
            "405459dc9a20f703",
        ),
    );
}

#[test]
fn what_the_rendezvous_says_to_peers() {
    let welcome = FromRendezvous::Welcome { observed: V4, stun_alternate: Some(V6) };
    message("Welcome", &welcome, "001e0000c0000201fb8f07010120010db8000000000000000000000001fbbb01");
    message(
        "Welcome without a second address",
        &FromRendezvous::Welcome { observed: V6, stun_alternate: None },
        "0016000120010db8000000000000000000000001fbbb0100",
    );
    let candidates = FromRendezvous::Candidates { peer: PEER, reachability: reachability() };
    message(
        "Candidates",
        &candidates,
        concat!(
            "004c023333333333333333333333333333333333333333333333333333333333333333030000c000",
            "0201fb8f070100c0000201fb8f07020120010db8000000000000000000000001fbbb01000302",
        ),
    );
    message(
        "Left",
        &FromRendezvous::Left { peer: PEER, reason: LeftReason::Left },
        "002203333333333333333333333333333333333333333333333333333333333333333300",
    );
    message(
        "Lost",
        &FromRendezvous::Left { peer: PEER, reason: LeftReason::Lost },
        "002203333333333333333333333333333333333333333333333333333333333333333301",
    );
    message(
        "Removed",
        &FromRendezvous::Left { peer: PEER, reason: LeftReason::Removed },
        "002203333333333333333333333333333333333333333333333333333333333333333302",
    );
    message("Draining", &FromRendezvous::Draining, "000104");
    let open = Rules::none(RoomId::from_bytes([0x11; 32])).sign(&HostKey::from_bytes([0x99; 32])).unwrap();
    message(
        "Rules that say nothing",
        &FromRendezvous::Rules(open),
        concat!(
            "0065051111111111111111111111111111111111111111111111111111111111111111000000004d",
            "6ac7a00ac97821ea3ed4b25b2b361259d8f7962dd8b04f028a189c08522d196bc50a29a4935b8615",
            "2d3af10fb971bcf859914c96a66bca484e5cc9ff228d04",
        ),
    );
}

#[test]
fn introductions() {
    let introduction = Introduction {
        peer: member(9, false),
        pair: PairSecret::from_bytes([0x44; 32]),
        role: Role::Opens,
        reachability: reachability(),
        relays: vec![
            RelayOffer { relay: RelayAddress::Rendezvous, session: SESSION, token: token() },
            RelayOffer { relay: RelayAddress::Standalone(V6), session: SESSION, token: token() },
        ],
    };
    message(
        "Introduction",
        &FromRendezvous::Introduction(Box::new(introduction)),
        concat!(
            "010b01333333333333333333333333333333333333333333333333333333333333333303626f6222",
            "22222222222222222222222222222222222222222222222222222222222222090000444444444444",
            "444444444444444444444444444444444444444444444444444400030000c0000201fb8f070100c0",
            "000201fb8f07020120010db8000000000000000000000001fbbb010003020200fc0d0c0b0afc0d0c",
            "0b0a01fc00943577d6ddf65c08f964ae24e35441bf0dc2ca9691a8b002f459fe1f10e175b639bf01",
            "010120010db8000000000000000000000001fbbb01fc0d0c0b0afc0d0c0b0a01fc00943577d6ddf6",
            "5c08f964ae24e35441bf0dc2ca9691a8b002f459fe1f10e175b639bf01",
        ),
    );
    let accepts = FromRendezvous::Introduction(Box::new(Introduction {
        peer: member(300, true),
        pair: PairSecret::from_bytes([0x44; 32]),
        role: Role::Accepts,
        reachability: Reachability::default(),
        relays: Vec::new(),
    }));
    message(
        "Introduction without relays",
        &accepts,
        concat!(
            "006f01333333333333333333333333333333333333333333333333333333333333333303626f6222",
            "22222222222222222222222222222222222222222222222222222222222222fb2c01010044444444",
            "444444444444444444444444444444444444444444444444444444440100000000",
        ),
    );
}

#[test]
fn how_nats_are_told() {
    let of = |mapping| ToRendezvous::Candidates(Reachability { mapping, ..Reachability::default() });
    message("EndpointIndependent", &of(Mapping::EndpointIndependent), "000401000001");
    message("Dependent", &of(Mapping::Dependent), "000401000002");
    message("Sequential", &of(Mapping::Sequential { step: -1 }), "000501000003ff");
}

#[test]
fn what_peers_say_to_each_other() {
    message("Hello", &ToPeer::Hello { clock: 0xfedc_ba98_7654_3210 }, "000a00fd1032547698badcfe");
    message(
        "Track with pictures",
        &ToPeer::Track(pictures()),
        "0027010101fb0005fbd002fb1275000b617663312e343265303166040142e01ffd00c012390ac00600",
    );
    message("Track with sound", &ToPeer::Track(sound()), "000f010200fb80bb0201046f7075730000");
    message("TrackEnded", &ToPeer::TrackEnded { track: TrackId(2), end: FrameNumber(70_000) }, "00070202fc70110100");
    message("KeyFrameRequest", &ToPeer::KeyFrameRequest { track: TrackId(300) }, "000403fb2c01");
    message("Want", &ToPeer::Want { track: TrackId(1), wanted: true }, "0003040101");
    message("Want not", &ToPeer::Want { track: TrackId(1), wanted: false }, "0003040100");
    message("Said", &ToPeer::Said { bytes: Bytes::from_static(b"hi") }, "000405026869");
    message(
        "Rules",
        &ToPeer::Rules(rules()),
        concat!(
            "00a60611111111111111111111111111111111111111111111111111111111111111110701010133",
            "3333333333333333333333333333333333333333333333333333333333333301aaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa24b0c928bab187720b7ca646895c4af9",
            "e500d33acfeb50dbbd7dab20167716d57d4f95e2bea6d3e60147030afc7ee0807daad16f78b34d94",
            "405459dc9a20f703",
        ),
    );
}

#[test]
fn what_tracks_show() {
    let of = |source| ToPeer::Track(Track { source, ..sound() });
    message("Camera", &of(TrackSource::Camera), "000f010200fb80bb0200046f7075730000");
    message("Screen", &of(TrackSource::Screen), "000f010200fb80bb0202046f7075730000");
    message("File", &of(TrackSource::File), "000f010200fb80bb0203046f7075730000");
    message("TestPattern", &of(TrackSource::TestPattern), "000f010200fb80bb0204046f7075730000");
}

#[test]
fn relay_packets() {
    let cookie = [0x55; 16];
    let packets = [
        ("DATA", RelayPacket::Data(b"quic"), "10ab01020a0b0c0d71756963"),
        (
            "BIND",
            RelayPacket::Bind(token()),
            concat!(
                "11ab01020a0b0c0d0a0b0c0d010000000000000077359400d6ddf65c08f964ae24e35441bf0dc2ca",
                "9691a8b002f459fe1f10e175b639bf010000000000000000",
            ),
        ),
        ("CHALLENGE", RelayPacket::Challenge(cookie), "12ab01020a0b0c0d55555555555555555555555555555555"),
        (
            "ANSWER",
            RelayPacket::Answer(token(), cookie),
            concat!(
                "13ab01020a0b0c0d0a0b0c0d010000000000000077359400d6ddf65c08f964ae24e35441bf0dc2ca",
                "9691a8b002f459fe1f10e175b639bf0155555555555555555555555555555555",
            ),
        ),
        ("ANSWER from the relay", RelayPacket::Bound, "13ab01020a0b0c0d"),
    ];
    for (name, packet, golden) in packets {
        let bytes = relay::encode(0xab, 0x0102, SESSION, &packet);
        expect(name, &bytes, golden);
        let (header, decoded) = relay::decode(&bytes).unwrap();
        assert_eq!((header.flags, header.epoch, header.session, decoded), (0xab, 0x0102, SESSION, packet), "{name}");
    }
}

#[test]
fn stun_requests() {
    let key = ProbeKey::from_bytes([0x66; 32]);
    expect(
        "request",
        &stun::encode_request(TRANSACTION, None, ChangeRequest::None),
        concat!(
            "000100542112a4427777777777777777777777770026005020202020202020202020202020202020",
            "20202020202020202020202020202020202020202020202020202020202020202020202020202020",
            "202020202020202020202020202020202020202020202020",
        ),
    );
    expect(
        "from another port",
        &stun::encode_request(TRANSACTION, None, ChangeRequest::Port),
        concat!(
            "000100542112a4427777777777777777777777770003000400000002002600482020202020202020",
            "20202020202020202020202020202020202020202020202020202020202020202020202020202020",
            "202020202020202020202020202020202020202020202020",
        ),
    );
    let elsewhere = stun::encode_request(TRANSACTION, None, ChangeRequest::AddressAndPort);
    expect(
        "from another address",
        &elsewhere,
        concat!(
            "000100542112a4427777777777777777777777770003000400000006002600482020202020202020",
            "20202020202020202020202020202020202020202020202020202020202020202020202020202020",
            "202020202020202020202020202020202020202020202020",
        ),
    );
    let probe = stun::encode_request(TRANSACTION, Some((&key, 0x0123_4567_89ab_cdef)), ChangeRequest::None);
    expect(
        "probe",
        &probe,
        concat!(
            "000100542112a4427777777777777777777777770006001030313233343536373839616263646566",
            "00260018202020202020202020202020202020202020202020202020001c002043af93cac471118c",
            "069b62dc8b70c0c232739fd1e667c96a9a2f1767e329dbd1",
        ),
    );
}

#[test]
fn stun_responses() {
    let key = ProbeKey::from_bytes([0x66; 32]);
    let limit = 104;
    let plain = stun::encode_response(TRANSACTION, V4, None, None, limit).unwrap();
    expect("response", &plain, "0101000c2112a442777777777777777777777777002000080001269de112a643");
    let other = stun::encode_response(TRANSACTION, V4, None, Some(V6), limit).unwrap();
    expect(
        "response with another address",
        &other,
        concat!(
            "010100242112a442777777777777777777777777002000080001269de112a643802c0014000201bb",
            "20010db8000000000000000000000001",
        ),
    );
    let probed = stun::encode_response(TRANSACTION, V6, Some(&key), None, limit).unwrap();
    expect(
        "response to a probe",
        &probed,
        concat!(
            "0101003c2112a44277777777777777777777777700200014000220a90113a9fa7777777777777777",
            "77777776001c0020204b2e0cf9a8fe489a840d4e7fda0fcf0be75090c687d3986b52f3ee7b4c73fa",
        ),
    );
}

#[test]
fn media_packets() {
    let mut packet = Packet {
        header: packet::Header {
            track: TrackId(0x0102),
            frame: FrameNumber(0x0304_0506),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            hop_sequence: 0x0007_0809,
            index: 2,
            count: 512,
            captured: CaptureTime::from_micros(0x1112_1314_1516_1718),
        },
        payload: Bytes::from_static(b"media"),
    };
    expect("key frame", &packet.encode(), "0101010203040506000708090002020011121314151617186d65646961");
    assert_eq!(Packet::decode(&packet.encode()).unwrap(), packet);
    packet.header.kind = FrameKind::Delta;
    packet.header.temporal_layer = 3;
    packet.header.needs = 255;
    expect("delta frame", &packet.encode(), "0106010203040506ff0708090002020011121314151617186d65646961");
    assert_eq!(Packet::decode(&packet.encode()).unwrap(), packet);
}

/// Checks the bytes of a control message in both directions.
#[track_caller]
fn message<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, message: &T, golden: &str) {
    let bytes = codec::encode(message);
    expect(name, &bytes, golden);
    let decoded: T = codec::decode(bytes.get(2..).unwrap()).unwrap();
    assert_eq!(&decoded, message, "{name} does not survive its bytes");
}

#[track_caller]
fn expect(name: &str, bytes: &[u8], golden: &str) {
    let found = HEXLOWER.encode(bytes);
    assert_eq!(
        found, golden,
        "the bytes of {name:?} have changed: the wire format is another, and needs another version"
    );
}

fn reachability() -> Reachability {
    Reachability {
        candidates: vec![
            Candidate { kind: CandidateKind::Host, address: V4 },
            Candidate { kind: CandidateKind::Mapped, address: V4 },
            Candidate { kind: CandidateKind::Reflexive, address: V6 },
        ],
        relay_only: false,
        mapping: Mapping::Sequential { step: 2 },
    }
}

fn member(instance: u64, receives: bool) -> Member {
    let tag = MembershipTag::from_bytes([0x22; 32]);
    Member { id: PEER, name: "bob".parse().unwrap(), tag, instance, receives, host: None }
}

fn pass() -> HostPass {
    HostKey::from_bytes([0x99; 32]).pass(&RoomId::from_bytes([0x11; 32]), &PEER)
}

fn rules() -> SignedRules {
    let rules = Rules {
        room: RoomId::from_bytes([0x11; 32]),
        number: 7,
        is_muted: true,
        admitted: Some(vec![PEER]),
        removed: vec![PeerId::from_bytes([0xaa; 32])],
    };
    rules.sign(&HostKey::from_bytes([0x99; 32])).unwrap()
}

fn pictures() -> Track {
    Track {
        id: TrackId(1),
        kind: TrackKind::Video { width: 1280, height: 720, millihertz: 29_970 },
        source: TrackSource::Camera,
        codec: "avc1.42e01f".to_owned(),
        description: Bytes::from_static(&[1, 0x42, 0xe0, 0x1f]),
        epoch_unix_us: 1_900_000_000_000_000,
    }
}

fn sound() -> Track {
    Track {
        id: TrackId(2),
        kind: TrackKind::Audio { sample_rate: 48_000, channels: 2 },
        source: TrackSource::Microphone,
        codec: "opus".to_owned(),
        description: Bytes::new(),
        epoch_unix_us: 0,
    }
}

fn token() -> RelayToken {
    RelayKey::from_bytes([3; 32]).token(SESSION, Side::Second, 2_000_000_000)
}

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1935);
const V6: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 443);
const PEER: PeerId = PeerId::from_bytes([0x33; 32]);
const SESSION: SessionId = SessionId(0x0a0b_0c0d);
const TRANSACTION: TransactionId = TransactionId([0x77; 12]);
