//! H.264 bytes: NAL units, the two ways to string them together, and the few parameters that matter outside a decoder.
//!
//! Annex B sets a start code before each unit; MP4, Matroska and `avcC` set a length. Both come from other peers.

use bytes::{BufMut, Bytes, BytesMut};

use super::Bits;

/// What a NAL unit is, of the kinds that matter here (H.264 table 7-1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnitKind {
    /// A slice of a picture at which decoding can start.
    KeySlice,
    /// A sequence parameter set: size and profile.
    Sequence,
    /// A picture parameter set.
    Picture,
    /// Anything else.
    Other,
}

/// What the first byte of a NAL unit says it is.
pub fn kind_of(unit: &[u8]) -> UnitKind {
    match unit.first().map(|byte| byte & 31) {
        Some(5) => UnitKind::KeySlice,
        Some(7) => UnitKind::Sequence,
        Some(8) => UnitKind::Picture,
        Some(_) | None => UnitKind::Other,
    }
}

/// The NAL units between the start codes of `stream`, without trailing zeros.
pub fn annex_b_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = start_code(current).unwrap_or(current.len());
        let (unit, following) = current.split_at_checked(end)?;
        rest = after_start_code(following);
        Some(trim_zeros(unit))
    })
    .filter(|unit| !unit.is_empty())
}

/// Where the next start code, `00 00 01`, begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

/// What follows the next start code.
fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(start_code(bytes)? + 3..)
}

/// A unit never ends in a zero byte; those belong to the next start code (H.264 §B.1.1).
fn trim_zeros(mut unit: &[u8]) -> &[u8] {
    while let [head @ .., 0] = unit {
        unit = head;
    }
    unit
}

/// Sets a four-byte length before each unit of an Annex B stream, in place of its start code.
pub fn to_length_prefixed(annex_b: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(annex_b.len() + 16);
    for unit in annex_b_units(annex_b) {
        let Ok(len) = u32::try_from(unit.len()) else {
            continue;
        };
        out.put_u32(len);
        out.extend_from_slice(unit);
    }
    out.freeze()
}

/// The decoder configuration record of MP4 and Matroska (ISO/IEC 14496-15 §5.3.3.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AvcConfig {
    length_size: usize,
    parameter_sets: Vec<Bytes>,
}

impl AvcConfig {
    /// Reads an `avcC`.
    ///
    /// # Errors
    /// When it ends early, is of another version, or a parameter set in it asks for too much.
    pub fn parse(record: &[u8]) -> Result<Self, AvcError> {
        let ended = || AvcError::ConfigTruncated(record.len());
        let [version, _, _, _, length_size, count, rest @ ..] = record else {
            return Err(ended());
        };
        if *version != 1 {
            return Err(AvcError::ConfigVersion(*version));
        }
        let mut parameter_sets = Vec::new();
        let rest = take_sets(rest, count & 31, &mut parameter_sets).ok_or_else(ended)?;
        let (count, rest) = rest.split_first().ok_or_else(ended)?;
        take_sets(rest, *count, &mut parameter_sets).ok_or_else(ended)?;
        Ok(AvcConfig { length_size: usize::from(length_size & 3) + 1, parameter_sets })
    }

    /// The parameter sets: what a decoder must have seen before the first picture.
    pub fn parameter_sets(&self) -> &[Bytes] {
        &self.parameter_sets
    }

    /// The units of one length-prefixed frame.
    ///
    /// # Errors
    /// When a length reaches past the end of the frame.
    pub fn units<'a>(&self, mut frame: &'a [u8]) -> Result<Vec<&'a [u8]>, AvcError> {
        let mut units = Vec::new();
        while !frame.is_empty() {
            let left = frame.len();
            let ended = || AvcError::UnitTruncated(left);
            let (prefix, rest) = frame.split_at_checked(self.length_size).ok_or_else(ended)?;
            let len = prefix.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            let (unit, rest) = rest.split_at_checked(len).ok_or_else(ended)?;
            units.push(unit);
            frame = rest;
        }
        Ok(units)
    }
}

/// Takes `count` parameter sets with two-byte lengths; what remains of `bytes`.
fn take_sets<'a>(mut bytes: &'a [u8], count: u8, sets: &mut Vec<Bytes>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (len, rest) = bytes.split_first_chunk()?;
        let (set, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        sets.push(Bytes::copy_from_slice(set));
        bytes = rest;
    }
    Some(bytes)
}

/// Builds an `avcC` with four-byte lengths from the parameter sets in an Annex B key frame. `None` if it has none.
pub fn config_from_key_frame(annex_b: &[u8]) -> Option<Bytes> {
    let mut sequences = Vec::new();
    let mut pictures = Vec::new();
    for unit in annex_b_units(annex_b) {
        let sets = match kind_of(unit) {
            UnitKind::Sequence => &mut sequences,
            UnitKind::Picture => &mut pictures,
            UnitKind::KeySlice | UnitKind::Other => continue,
        };
        if !sets.contains(&unit) {
            sets.push(unit);
        }
    }
    let [_, profile, compatibility, level, ..] = **sequences.first()? else {
        return None;
    };
    pictures.first()?;
    let mut record = BytesMut::new();
    record.put_slice(&[1, profile, compatibility, level, 0xff]);
    record.put_u8(0xe0 | u8::try_from(sequences.len()).ok().filter(|count| *count < 32)?);
    put_sets(&mut record, &sequences)?;
    record.put_u8(u8::try_from(pictures.len()).ok()?);
    put_sets(&mut record, &pictures)?;
    if matches!(profile, 100 | 110 | 122 | 144) {
        let shape = SequenceShape::parse(sequences.first()?).ok()?;
        record.put_slice(&[0xfc | shape.chroma, 0xf8 | shape.luma_depth, 0xf8 | shape.chroma_depth, 0]);
    }
    Some(record.freeze())
}

/// Writes parameter sets with two-byte lengths.
fn put_sets(record: &mut BytesMut, sets: &[&[u8]]) -> Option<()> {
    for set in sets {
        record.put_u16(u16::try_from(set.len()).ok()?);
        record.extend_from_slice(set);
    }
    Some(())
}

/// The codec string for an `avcC` or a sequence parameter set: both carry profile and level in bytes 1 to 3.
pub fn codec_string(record_or_set: &[u8]) -> Option<String> {
    let [_, profile, compatibility, level, ..] = record_or_set else {
        return None;
    };
    Some(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
}

/// The size and colour format in a sequence parameter set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SequenceShape {
    /// Pixels a line after cropping.
    pub width: usize,
    /// Lines after cropping.
    pub height: usize,
    chroma: u8,
    luma_depth: u8,
    chroma_depth: u8,
}

impl SequenceShape {
    /// Reads a sequence parameter set (H.264 §7.3.2.1.1).
    ///
    /// # Errors
    /// When it ends early or its numbers cannot be.
    pub fn parse(unit: &[u8]) -> Result<Self, AvcError> {
        let payload = unescape(unit.get(1..).unwrap_or_default());
        parse_sequence(&payload).ok_or(AvcError::Sequence(unit.len()))
    }
}

/// The body of [`SequenceShape::parse`]; `None` where the set ends early or a number cannot be.
fn parse_sequence(payload: &[u8]) -> Option<SequenceShape> {
    let mut bits = Bits::new(payload);
    let profile = bits.number(8)?;
    bits.number(16)?;
    bits.golomb()?;
    let (mut chroma, mut luma_depth, mut chroma_depth) = (1, 0, 0);
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.flag()?;
        }
        (luma_depth, chroma_depth) = (bits.golomb()?, bits.golomb()?);
        bits.flag()?;
        skip_scaling_lists(&mut bits, chroma)?;
    }
    bits.golomb()?;
    skip_picture_order(&mut bits)?;
    bits.golomb()?;
    bits.flag()?;
    let width = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let map_height = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let is_progressive = bits.flag()?;
    if !is_progressive {
        bits.flag()?;
    }
    let fields = if is_progressive { 1 } else { 2 };
    let height = map_height.checked_mul(fields)?;
    bits.flag()?;
    let (mut across, mut down) = (0_u32, 0_u32);
    if bits.flag()? {
        let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 };
        across = bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit_x)?;
        down = bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit_y * fields)?;
    }
    Some(SequenceShape {
        width: usize::try_from(width.checked_sub(across)?).ok()?,
        height: usize::try_from(height.checked_sub(down)?).ok()?,
        chroma: u8::try_from(chroma).ok().filter(|chroma| *chroma < 4)?,
        luma_depth: u8::try_from(luma_depth).ok().filter(|depth| *depth < 7)?,
        chroma_depth: u8::try_from(chroma_depth).ok().filter(|depth| *depth < 7)?,
    })
}

/// Steps over the scaling lists, if there are any (H.264 §7.3.2.1.1.1).
fn skip_scaling_lists(bits: &mut Bits<'_>, chroma: u32) -> Option<()> {
    if !bits.flag()? {
        return Some(());
    }
    for list in 0..if chroma == 3 { 12 } else { 8 } {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed_golomb()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// Steps over how pictures are put in order.
fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.flag()?;
            bits.golomb()?;
            bits.golomb()?;
            let count = bits.golomb()?;
            for _ in 0..count.min(256) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Takes out the bytes that keep start codes from appearing inside a unit (H.264 §7.4.1).
fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if *byte == 3 && zeros >= 2 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

/// Why bytes are not the H.264 they should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AvcError {
    /// The configuration record ended inside itself.
    #[error("avcC of {0} bytes ends inside itself")]
    ConfigTruncated(usize),
    /// The configuration record is of an unknown version.
    #[error("avcC of version {0}; only 1 is known")]
    ConfigVersion(u8),
    /// A unit's length reaches past the frame.
    #[error("a NAL unit reaches past the last {0} bytes of its frame")]
    UnitTruncated(usize),
    /// A sequence parameter set ended early or holds impossible numbers.
    #[error("sequence parameter set of {0} bytes makes no sense")]
    Sequence(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 640×480 Constrained Baseline, level 3.0, and its picture parameter set.
    const SPS: [u8; 11] = [0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x80, 0x6d, 0x0a];
    const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

    #[test]
    fn a_key_frame_gives_the_configuration_and_the_codec_string() {
        let record = config_from_key_frame(&key_frame()).unwrap();
        let config = AvcConfig::parse(&record).unwrap();
        assert_eq!(config.parameter_sets(), [&SPS[..], &PPS[..]]);
        assert_eq!(codec_string(&record).unwrap(), "avc1.42c01e");
    }

    #[test]
    fn start_codes_become_lengths_and_the_units_stay() {
        let frame = to_length_prefixed(&key_frame());
        let config = AvcConfig::parse(&config_from_key_frame(&key_frame()).unwrap()).unwrap();
        assert_eq!(config.units(&frame).unwrap(), [&SPS[..], &PPS[..], &[0x65, 9, 0, 0, 3, 1]]);
    }

    #[test]
    fn a_unit_longer_than_its_frame_is_an_error() {
        let config = AvcConfig::parse(&config_from_key_frame(&key_frame()).unwrap()).unwrap();
        assert_eq!(config.units(&[0, 0, 0, 9, 1]), Err(AvcError::UnitTruncated(5)));
    }

    #[test]
    fn the_size_is_read_from_the_sequence_parameter_set() {
        let shape = SequenceShape::parse(&SPS).unwrap();
        assert_eq!((shape.width, shape.height), (640, 480));
    }

    proptest! {
        #[test]
        fn no_bytes_bring_the_parsers_down(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SequenceShape::parse(&bytes);
            let _ = config_from_key_frame(&bytes);
            if let Ok(config) = AvcConfig::parse(&bytes) {
                let _ = config.units(&bytes);
            }
        }
    }

    fn key_frame() -> Vec<u8> {
        let mut stream = vec![0, 0, 0, 1];
        stream.extend(SPS);
        stream.extend([0, 0, 0, 1]);
        stream.extend(PPS);
        stream.extend([0, 0, 1, 0x65, 9, 0, 0, 3, 1]);
        stream
    }
}
