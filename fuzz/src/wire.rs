//! The decoders of the library, each as a function of arbitrary bytes.

use std::time::Duration;

use bytes::Bytes;
use meipo::link::Link;
use meipo::media::assemble::Assembler;
use meipo::media::jitter::Jitter;
use meipo::media::parity::repair;
use meipo::media::playout::{Playout, PlayoutClock, Sense};
use meipo::media::{Frame, FrameKind};
use meipo::params::{MAX_FRAME_LEN, MAX_MESSAGE_LEN, PLAYOUT_LEAST, PLAYOUT_MOST};
use meipo::trust::ProbeKey;
use meipo::units::{CaptureTime, FrameNumber, Time, TrackId};
use meipo::wire::chunk::Chunk;
use meipo::wire::codec::{self, MessageReader};
use meipo::wire::control::{FromRendezvous, ToPeer, ToRendezvous};
use meipo::wire::feedback::Feedback;
use meipo::wire::packet::Packet;
use meipo::wire::repair::{Bundle, Parity};
use meipo::wire::{relay, stun};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this file by its name, which is also that of its corpus.
pub const TARGETS: [Target; 13] = [
    ("packet", packet),
    ("feedback", feedback),
    ("parity", parity),
    ("bundle", bundle),
    ("chunk", chunk),
    ("control", control),
    ("message_stream", message_stream),
    ("stun", stun),
    ("relay", relay),
    ("relay_runs", relay_runs),
    ("link", link),
    ("assembler", assembler),
    ("jitter", jitter),
];

/// A media packet is refused or survives its bytes.
pub fn packet(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    if let Ok(packet) = Packet::decode(&datagram) {
        assert_eq!(packet.encode(), datagram);
    }
}

/// A report is refused or can be written again.
pub fn feedback(data: &[u8]) {
    if let Ok(feedback) = Feedback::decode(data) {
        assert!(Feedback::decode(&feedback.encode()).is_ok());
    }
}

/// A chunk is refused or survives its bytes, and its end is a number.
pub fn chunk(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    if let Ok(chunk) = Chunk::decode(&datagram) {
        assert_eq!(chunk.encode(), datagram);
        assert!(chunk.offset.checked_add(chunk.data.len() as u64).is_some());
    }
}

/// Parity is refused or survives its bytes; what it repairs is bounded, whatever it claims.
pub fn parity(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    if let Ok(parity) = Parity::decode(&datagram) {
        assert_eq!(parity.encode(), datagram);
        let count = usize::from(parity.header.count);
        let repaired = repair(count, &[], std::slice::from_ref(&parity)).unwrap_or_default();
        assert!(repaired.iter().map(|packet| packet.payload.len()).sum::<usize>() <= MAX_FRAME_LEN);
    }
}

/// A bundle is refused or survives its bytes.
pub fn bundle(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    if let Ok(bundle) = Bundle::decode(&datagram) {
        assert_eq!(bundle.encode(), datagram);
    }
}

/// The body of a message, whoever it is for.
pub fn control(data: &[u8]) {
    if data.len() > MAX_MESSAGE_LEN {
        return;
    }
    if let Ok(message) = codec::decode::<ToRendezvous>(data) {
        let _ = message.check();
        assert_eq!(codec::decode::<ToRendezvous>(&codec::encode(&message)[2..]), Ok(message));
    }
    if let Ok(message) = codec::decode::<FromRendezvous>(data) {
        let _ = message.check();
        assert_eq!(codec::decode::<FromRendezvous>(&codec::encode(&message)[2..]), Ok(message));
    }
    if let Ok(message) = codec::decode::<ToPeer>(data) {
        let _ = message.check();
        assert_eq!(codec::decode::<ToPeer>(&codec::encode(&message)[2..]), Ok(message));
    }
}

/// A control stream that comes in pieces; the first byte says of how many bytes.
pub fn message_stream(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let mut reader = MessageReader::default();
    for piece in stream.chunks(usize::from(size).max(1)) {
        reader.push(piece);
        loop {
            match reader.next_body() {
                Ok(Some(body)) => assert!(body.len() <= MAX_MESSAGE_LEN),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(reader.buffered() <= MAX_MESSAGE_LEN + 2);
    }
}

/// A STUN message, which is never authentic by chance.
pub fn stun(data: &[u8]) {
    if let Ok(message) = stun::decode(data) {
        assert!(stun::is_stun(data));
        assert!(!message.verify(data, &ProbeKey::from_bytes([0; 32])));
    }
}

/// A relay packet is refused or survives its bytes.
pub fn relay(data: &[u8]) {
    if let Ok((header, packet)) = relay::decode(data) {
        assert_eq!(relay::encode(header.flags, header.epoch, header.session, &packet), data);
    }
}

/// A batch cut into runs; the first byte says how long its packets are. Nothing is lost.
pub fn relay_runs(data: &[u8]) {
    let Some((&segment, batch)) = data.split_first() else { return };
    assert_eq!(relay::runs(batch, usize::from(segment)).collect::<Vec<_>>().concat(), batch);
}

/// A link that is understood reads the same when it is written again.
pub fn link(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(link) = text.parse::<Link>() {
        assert_eq!(link.to_host_text().parse::<Link>().as_ref(), Ok(&link));
    }
}

/// Packets, each behind a byte of milliseconds that pass before it and a byte of its length.
pub fn assembler(mut data: &[u8]) {
    let (mut assembler, mut now) = (Assembler::new(), Time::ZERO);
    while let Some((&[wait, len], rest)) = data.split_first_chunk() {
        let (packet, rest) = rest.split_at(rest.len().min(usize::from(len)));
        data = rest;
        now += Duration::from_millis(u64::from(wait));
        assembler.handle_timeout(now);
        if let Ok(packet) = Packet::decode(&Bytes::copy_from_slice(packet))
            && let Ok(Some(frame)) = assembler.push(packet, now)
        {
            assert!(frame.data.len() <= MAX_FRAME_LEN);
        }
        assert!(assembler.held_bytes() <= 8 * MAX_FRAME_LEN);
    }
}

/// Frames of eight bytes: milliseconds that pass, flags, number, capture time, needs. Each leaves once and in order.
pub fn jitter(mut data: &[u8]) {
    let playout = match data.first() {
        Some(0..=63) => Playout::Live { delay: Duration::from_millis(80) },
        Some(64..=127) => Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST },
        _ => Playout::Ordered { patience: Duration::from_millis(500) },
    };
    let (mut jitter, mut clock) = (Jitter::new(playout), PlayoutClock::new(playout));
    let (mut now, mut last) = (Time::ZERO, None);
    while let Some((&[wait, flags, n0, n1, c0, c1, c2, needs], rest)) = data.split_first_chunk() {
        data = rest;
        now += Duration::from_millis(u64::from(wait));
        let number = FrameNumber(u32::from_be_bytes([if flags & 2 == 0 { 0 } else { 0xff }, flags & 4, n0, n1]));
        if flags & 8 == 8 {
            jitter.handle_end(number, now);
        }
        let frame = Frame {
            track: TrackId(1),
            number,
            captured: CaptureTime::from_micros(u64::from_be_bytes([flags & 16, 0, 0, 0, c0, c1, c2, 0])),
            kind: if flags & 1 == 1 { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: 0,
            needs,
            data: Bytes::new(),
        };
        let sense = if flags & 32 == 32 { Sense::Sound } else { Sense::Picture };
        clock.handle_frame(frame.captured, sense, now);
        jitter.push(frame, now);
        while let Some(released) = jitter.poll(clock.pace(sense), now) {
            if let meipo::media::jitter::Released::Frame(frame) = released {
                assert!(last < Some(frame.number), "a frame returned");
                last = Some(frame.number);
            }
        }
        let _ = jitter.poll_timeout(clock.pace(sense));
    }
}
