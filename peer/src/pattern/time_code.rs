//! A frame number and a time in the top of a picture, as bright and dark cells that survive encoding.
//!
//! A code is read in full or not at all: every cell must be clearly bright or dark, and a checksum must agree.

use super::canvas::{Canvas, Colour};
use crate::codec::Picture;
use crate::params::{TIME_CODE_COLUMNS, TIME_CODE_LEVELS, TIME_CODE_MIN_WIDTH, TIME_CODE_ROWS};

/// What is written in the top of a test picture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeCode {
    /// The number of the picture.
    pub frame: u32,
    /// When it was drawn: microseconds since 1970, of which 56 bits are kept.
    pub unix_us: u64,
}

/// Reads the time code of a picture, also of one that was scaled. `None` where there is none or it is damaged.
pub fn read_time_code(picture: &Picture) -> Option<TimeCode> {
    if picture.width() < usize::from(TIME_CODE_MIN_WIDTH) || code_height(picture.width()) > picture.height() {
        return None;
    }
    let mut word = 0_u128;
    for cell in 0..TIME_CODE_ROWS * TIME_CODE_COLUMNS {
        word = word << 1 | u128::from(read_cell(picture, cell)?);
    }
    from_word(word)
}

impl TimeCode {
    /// Draws the code into the top of a picture wide and high enough for it.
    pub(super) fn draw(self, picture: &mut Picture) {
        let width = picture.width();
        if width < usize::from(TIME_CODE_MIN_WIDTH) || code_height(width) > picture.height() {
            return;
        }
        let word = to_word(self);
        let (dark, bright, _) = TIME_CODE_LEVELS;
        let mut canvas = Canvas::new(picture);
        for cell in 0..TIME_CODE_ROWS * TIME_CODE_COLUMNS {
            let is_bright = word >> (TIME_CODE_ROWS * TIME_CODE_COLUMNS - 1 - cell) & 1 == 1;
            let (left, top, right, bottom) = bounds(width, cell);
            let colour = Colour::grey(if is_bright { bright } else { dark });
            let [left, top, right, bottom] = [left, top, right, bottom].map(|edge| i32::try_from(edge).unwrap_or(0));
            canvas.rectangle((left, top), (right - left, bottom - top), colour);
        }
    }
}

/// How many lines the code takes.
pub(super) fn code_height(width: usize) -> usize {
    TIME_CODE_ROWS * width / TIME_CODE_COLUMNS
}

/// Left, top, right and bottom of a cell.
fn bounds(width: usize, cell: usize) -> (usize, usize, usize, usize) {
    let edge = |index: usize| index * width / TIME_CODE_COLUMNS;
    let (column, row) = (cell % TIME_CODE_COLUMNS, cell / TIME_CODE_COLUMNS);
    (edge(column), edge(row), edge(column + 1), edge(row + 1))
}

/// Whether a cell is bright; `None` if it is neither. Its rim is left out: that is where encoding smears.
fn read_cell(picture: &Picture, cell: usize) -> Option<bool> {
    let (left, top, right, bottom) = bounds(picture.width(), cell);
    let rim = (right - left) / 4;
    let (mut sum, mut count) = (0_u32, 0_u32);
    for line in top + rim..bottom - rim {
        let start = line * picture.width();
        let pixels = picture.y().get(start + left + rim..start + right - rim)?;
        sum += pixels.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
        count += u32::try_from(pixels.len()).ok()?;
    }
    let mean = u8::try_from(sum.checked_div(count)?).ok()?;
    let (dark, bright, tolerance) = TIME_CODE_LEVELS;
    match (mean.abs_diff(dark) < tolerance, mean.abs_diff(bright) < tolerance) {
        (true, false) => Some(false),
        (false, true) => Some(true),
        (true, true) | (false, false) => None,
    }
}

/// Marker (8 bits), frame (32), time (56), checksum (24).
fn to_word(code: TimeCode) -> u128 {
    let payload = u128::from(code.frame) << 56 | u128::from(code.unix_us & TIME_MASK);
    MARKER << 112 | payload << 24 | u128::from(checksum(payload))
}

/// The code in a word; `None` if its marker or its checksum is wrong.
fn from_word(word: u128) -> Option<TimeCode> {
    let payload = word >> 24 & PAYLOAD_MASK;
    let found = u32::try_from(word & 0xff_ffff).ok()?;
    if word >> 112 != MARKER || found != checksum(payload) {
        return None;
    }
    Some(TimeCode {
        frame: u32::try_from(payload >> 56).ok()?,
        unix_us: u64::try_from(payload & u128::from(TIME_MASK)).ok()?,
    })
}

/// CRC-24 (RFC 9580 §6.1).
fn checksum(payload: u128) -> u32 {
    let mut crc = 0xb7_04ce;
    for byte in payload.to_be_bytes() {
        crc ^= u32::from(byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x100_0000 != 0 {
                crc ^= 0x186_4cfb;
            }
        }
    }
    crc & 0xff_ffff
}

const MARKER: u128 = 0b1011_0010;
const TIME_MASK: u64 = (1 << 56) - 1;
const PAYLOAD_MASK: u128 = (1 << 88) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: TimeCode = TimeCode { frame: 123_456, unix_us: 1_795_000_000_123_456 };

    #[test]
    fn what_is_drawn_is_read_at_any_size() {
        for (width, height) in [(160, 120), (320, 240), (426, 240), (640, 480), (1278, 720), (1920, 1080)] {
            let mut picture = Picture::black(width, height);
            CODE.draw(&mut picture);
            assert_eq!(read_time_code(&picture), Some(CODE), "{width}×{height}");
        }
    }

    #[test]
    fn a_picture_without_a_code_has_none() {
        assert_eq!(read_time_code(&Picture::black(640, 480)), None);
        assert_eq!(read_time_code(&Picture::black(64, 48)), None);
        assert_eq!(read_time_code(&Picture::black(640, 16)), None);
    }

    #[test]
    fn a_single_turned_cell_is_noticed() {
        for cell in 0..120 {
            assert_eq!(from_word(to_word(CODE) ^ 1 << cell), None);
        }
    }

    proptest! {
        #[test]
        fn every_code_survives_its_word(frame: u32, unix_us in 0..1_u64 << 56) {
            prop_assert_eq!(from_word(to_word(TimeCode { frame, unix_us })), Some(TimeCode { frame, unix_us }));
        }

        #[test]
        fn a_damaged_picture_is_read_right_or_not_at_all(seed: u64, lines in 1_usize..48) {
            let mut picture = Picture::black(640, 480);
            CODE.draw(&mut picture);
            let mut state = seed | 1;
            for pixel in picture.planes_mut().y.iter_mut().take(lines * 640) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if state >> 63 == 1 {
                    *pixel = state.to_le_bytes()[5];
                }
            }
            prop_assert!(matches!(read_time_code(&picture), None | Some(CODE)));
        }
    }
}
