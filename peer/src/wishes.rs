//! What a person asks of pictures: their size and rate, how many bits, how many key frames.
//!
//! Text of the command line goes in, values within the bounds of what can be encoded come out, or a sentence that says how
//! to write it.

use std::str::FromStr;
use std::time::Duration;

use meipo::units::Bitrate;

use crate::params::{PATTERN_MAX_RATE, PATTERN_MAX_SIDE, PATTERN_MIN_SIDE};

/// Size and rate of a test pattern or a camera, as `640x480@30`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PatternSpec {
    /// Pixels a line.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// Pictures a second.
    pub rate: u16,
}

impl FromStr for PatternSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is no size and rate; write for example 640x480@30");
        let (size, rate) = text.split_once('@').unwrap_or((text, "30"));
        let (width, height) = size.split_once(['x', 'X', '×']).ok_or_else(shape)?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| shape());
        let (width, height, rate) = (number(width)?, number(height)?, number(rate)?);
        for side in [width, height] {
            if side % 2 == 1 {
                return Err(format!("a side of {side} pixels is odd; H.264 takes even sizes"));
            }
            if !(PATTERN_MIN_SIDE..=PATTERN_MAX_SIDE).contains(&side) {
                return Err(format!("a side of {side} pixels; {PATTERN_MIN_SIDE} to {PATTERN_MAX_SIDE} are possible"));
            }
        }
        if !(1..=PATTERN_MAX_RATE).contains(&rate) {
            return Err(format!("{rate} pictures a second; 1 to {PATTERN_MAX_RATE} are possible"));
        }
        Ok(PatternSpec { width, height, rate })
    }
}

/// How many bits a second pictures may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MostBits(Option<Bitrate>);

/// How long pictures may go on without a key frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyInterval(Option<Duration>);

impl MostBits {
    /// The bound; `None` if there is none.
    pub fn ceiling(self) -> Option<Bitrate> {
        self.0
    }
}

impl FromStr for MostBits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(MostBits(None));
        }
        text.parse().map(|rate| MostBits(Some(rate))).map_err(|error| format!("{error}, or none"))
    }
}

impl KeyInterval {
    /// In seconds; 0 if every picture is a key frame, `None` if only those are that somebody needs.
    pub fn seconds(self) -> Option<f64> {
        self.0.map(|interval| interval.as_secs_f64())
    }
}

impl FromStr for KeyInterval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(KeyInterval(None));
        }
        let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
        let seconds =
            seconds.ok_or_else(|| format!("{text:?} is no time in seconds; write for example 1, 0.5, 0 or none"))?;
        Ok(KeyInterval(Some(Duration::from_secs_f64(seconds))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_may_have_no_bound_and_each_of_them_may_be_a_key_frame() {
        assert_eq!("none".parse::<MostBits>().unwrap().ceiling(), None);
        assert_eq!("2M".parse::<MostBits>().unwrap().ceiling(), Some(Bitrate::from_kilobits(2000)));
        assert!("much".parse::<MostBits>().unwrap_err().contains("none"));
        let seconds = |text: &str| text.parse::<KeyInterval>().map(KeyInterval::seconds);
        assert_eq!(seconds("0"), Ok(Some(0.0)));
        assert_eq!(seconds("0.5"), Ok(Some(0.5)));
        assert_eq!(seconds("none"), Ok(None));
        for wrong in ["-1", "inf", "NaN", "", "2s"] {
            assert!(seconds(wrong).unwrap_err().contains("none"), "{wrong}");
        }
    }
}
