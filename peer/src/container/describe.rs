//! What a codec is called: the words of Matroska and MP4 against the words of the WebCodecs registry.

use bytes::Bytes;

use crate::codec::{Bits, avc};

/// The codecs that files are read and written with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Codec {
    Avc,
    Vp8,
    Vp9,
    Av1,
    Opus,
}

impl Codec {
    /// The codec Matroska calls so.
    pub(super) fn from_matroska(id: &str) -> Option<Self> {
        ALL.into_iter().find(|codec| codec.matroska_id() == id)
    }

    /// The codec of a WebCodecs codec string.
    pub(super) fn from_webcodecs(string: &str) -> Option<Self> {
        match crate::codec::family(string) {
            "avc1" | "avc3" => Some(Codec::Avc),
            "vp8" => Some(Codec::Vp8),
            "vp09" => Some(Codec::Vp9),
            "av01" => Some(Codec::Av1),
            "opus" => Some(Codec::Opus),
            _ => None,
        }
    }

    /// What Matroska calls it.
    pub(super) fn matroska_id(self) -> &'static str {
        match self {
            Codec::Avc => "V_MPEG4/ISO/AVC",
            Codec::Vp8 => "V_VP8",
            Codec::Vp9 => "V_VP9",
            Codec::Av1 => "V_AV1",
            Codec::Opus => "A_OPUS",
        }
    }

    /// The codec string, from the out-of-band bytes and, for VP9 without them, from the first key frame.
    pub(super) fn string(self, private: &[u8], key_frame: Option<&[u8]>) -> Option<String> {
        match self {
            Codec::Avc => avc::AvcConfig::parse(private).ok().and_then(|_| avc::codec_string(private)),
            Codec::Vp8 => Some("vp8".to_owned()),
            Codec::Vp9 => vp9_features(private).or_else(|| vp9_key_frame(key_frame?)),
            Codec::Av1 => av1_string(private),
            Codec::Opus => Some("opus".to_owned()),
        }
    }

    /// The `description` of WebCodecs. AV1 has none there, but a recording needs its `av1C`, so it travels with the
    /// track; decoders leave it aside.
    pub(super) fn description(self, private: &Bytes) -> Bytes {
        match self {
            Codec::Avc | Codec::Av1 | Codec::Opus => private.clone(),
            Codec::Vp8 | Codec::Vp9 => Bytes::new(),
        }
    }
}

const ALL: [Codec; 5] = [Codec::Avc, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus];

/// `vp09.PP.LL.DD` from the features WebM keeps: id, length 1, value.
fn vp9_features(private: &[u8]) -> Option<String> {
    let feature = |wanted: u8| {
        let mut features = private.chunks_exact(3);
        features.find_map(|feature| matches!(feature, [id, 1, _] if *id == wanted).then(|| feature.last().copied()))?
    };
    Some(vp9_string(feature(1)?, feature(2)?, feature(3).unwrap_or(8)))
}

/// `vp09.PP.LL.DD` from the uncompressed header of a key frame (VP9 §6.2).
fn vp9_key_frame(frame: &[u8]) -> Option<String> {
    let mut bits = Bits::new(frame);
    let marker = bits.number(2)?;
    let low = bits.number(1)?;
    let profile = bits.number(1)? << 1 | low;
    if profile == 3 {
        bits.flag()?;
    }
    let shows_existing = bits.flag()?;
    let is_delta = bits.flag()?;
    bits.number(2)?;
    if marker != 2 || shows_existing || is_delta || bits.number(24)? != 0x49_8342 {
        return None;
    }
    let is_twelve_bit = profile >= 2 && bits.flag()?;
    let depth = if profile < 2 {
        8
    } else if is_twelve_bit {
        12
    } else {
        10
    };
    let is_rgb = bits.number(3)? == 7;
    if !is_rgb {
        bits.flag()?;
    }
    if profile % 2 == 1 {
        bits.number(if is_rgb { 1 } else { 3 })?;
    }
    let pixels = u64::from(bits.number(16)? + 1) * u64::from(bits.number(16)? + 1);
    let level = VP9_LEVELS.iter().find(|(_, most)| pixels <= *most).map_or(62, |(level, _)| *level);
    Some(vp9_string(u8::try_from(profile).ok()?, level, depth))
}

/// The lowest VP9 level for a number of pixels; the rate is not known here (VP9 annex A).
const VP9_LEVELS: [(u8, u64); 9] = [
    (10, 36_864),
    (11, 73_728),
    (20, 122_880),
    (21, 245_760),
    (30, 552_960),
    (31, 983_040),
    (40, 2_228_224),
    (50, 8_912_896),
    (60, 35_651_584),
];

/// The codec string of VP9.
pub(super) fn vp9_string(profile: u8, level: u8, depth: u8) -> String {
    format!("vp09.{profile:02}.{level:02}.{depth:02}")
}

/// `av01.P.LLT.DD` from an `av1C` (AV1 in ISOBMFF §2.3 and §5).
fn av1_string(config: &[u8]) -> Option<String> {
    let [0x81, first, second, ..] = config else {
        return None;
    };
    let (profile, level) = (first >> 5, first & 31);
    let tier = if second & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match second >> 5 & 3 {
        0 | 1 => 8,
        2 => 10,
        _ => 12,
    };
    Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"))
}

/// A bare `av1C` for a codec string, 4:2:0, where the real one did not come along.
pub(super) fn av1_config(string: &str) -> Option<Bytes> {
    let mut parts = string.split('.').skip(1);
    let profile: u8 = parts.next()?.parse().ok().filter(|profile| *profile < 3)?;
    let level = parts.next()?;
    let is_high_tier = level.ends_with('H');
    let level: u8 = level.trim_end_matches(['M', 'H']).parse().ok().filter(|level| *level < 32)?;
    let depth = match parts.next()? {
        "08" => 0,
        "10" => 0x40,
        "12" => 0x60,
        _ => return None,
    };
    let tier = if is_high_tier { 0x80 } else { 0 };
    Some(Bytes::from(vec![0x81, profile << 5 | level, tier | depth | 0x0c, 0]))
}

/// Channels and pre-skip of an `OpusHead` (RFC 7845 §5.1).
pub(super) fn opus_head(head: &[u8]) -> Option<(u8, u16)> {
    let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, channels, low, high, ..] = head else {
        return None;
    };
    (head.len() >= 19).then_some((*channels, u16::from_le_bytes([*low, *high])))
}

/// How long an Opus packet sounds, in microseconds (RFC 6716 §3.1).
pub(super) fn opus_duration(packet: &[u8]) -> Option<i64> {
    let (head, rest) = packet.split_first()?;
    let frame = match head >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000].get(usize::from(config & 3)),
        config @ 12..=15 => [10_000, 20_000].get(usize::from(config & 1)),
        config => [2_500, 5_000, 10_000, 20_000].get(usize::from(config & 3)),
    }?;
    let count = match head & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => rest.first()? & 63,
    };
    Some(frame * i64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_av1_codec_string_survives_its_configuration() {
        for string in ["av01.0.04M.08", "av01.0.13H.10", "av01.2.19M.12"] {
            let config = av1_config(string).unwrap();
            assert_eq!(Codec::Av1.string(&config, None).unwrap(), string);
        }
        assert_eq!(av1_config("av01.0.banana"), None);
    }

    #[test]
    fn vp9_is_named_by_its_features_or_by_its_key_frame() {
        let features = [1, 1, 0, 2, 1, 31, 3, 1, 8];
        assert_eq!(Codec::Vp9.string(&features, None).unwrap(), "vp09.00.31.08");
        // Profile 0, key frame, shown; sync code; colour space 1; 640×480.
        let key = [0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x1d, 0xf0];
        assert_eq!(Codec::Vp9.string(&[], Some(&key)).unwrap(), "vp09.00.30.08");
        assert_eq!(Codec::Vp9.string(&[], Some(&[0x86, 0])), None);
    }

    #[test]
    fn an_opus_packet_says_how_long_it_is() {
        assert_eq!(opus_duration(&[0x78]), Some(20_000));
        assert_eq!(opus_duration(&[0x0b, 3]), Some(60_000));
        assert_eq!(opus_duration(&[0xe1, 0]), Some(5_000));
        assert_eq!(opus_duration(&[]), None);
    }
}
