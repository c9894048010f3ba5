//! What is sent: 30 pictures a second at 2 Mbit/s and 50 packets of sound a second, as a call has them.

use std::time::Duration;

use bytes::Bytes;

/// Pictures or sound; also the number of its track.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Stream {
    Picture = 1,
    Sound = 2,
}

/// One frame and when it is due after the start.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) stream: Stream,
    pub(crate) number: u32,
    pub(crate) due: Duration,
    pub(crate) data: Bytes,
}

/// The frames of `span`, in order, numbered from `first_picture` and `first_sound`.
pub(crate) fn shots(span: Duration, first: (u32, u32)) -> Vec<Shot> {
    let of = |stream: Stream, first: u32, offset: Duration, interval: Duration, len: usize| {
        (0..).map(move |at| Shot {
            stream,
            number: first + at,
            due: offset + interval * at,
            data: Bytes::from(vec![0xa5; len]),
        })
    };
    let picture = of(Stream::Picture, first.0, Duration::ZERO, PICTURE_INTERVAL, PICTURE_LEN);
    let sound = of(Stream::Sound, first.1, SOUND_OFFSET, SOUND_INTERVAL, SOUND_LEN);
    let within = |shot: &Shot| shot.due < span;
    let mut shots: Vec<Shot> = picture.take_while(within).chain(sound.take_while(within)).collect();
    shots.sort_by_key(|shot| shot.due);
    shots
}

const PICTURE_INTERVAL: Duration = Duration::from_micros(33_333);
const SOUND_INTERVAL: Duration = Duration::from_millis(20);
/// Keeps sound from being due together with a picture.
const SOUND_OFFSET: Duration = Duration::from_micros(9_500);
/// 2 Mbit/s at 30 a second: eight packets.
const PICTURE_LEN: usize = 8_333;
const SOUND_LEN: usize = 160;
