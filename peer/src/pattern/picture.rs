//! The test picture: somebody in front of a moving sky, a ball, a clock, and the time code on top.

use super::canvas::{Canvas, Colour, byte};
use super::time_code::{TimeCode, code_height};
use crate::codec::Picture;

/// Draws test pictures of one size and colour.
#[derive(Clone, Debug)]
pub struct TestPicture {
    width: u16,
    height: u16,
    hue: f32,
    /// One period of a wave for each plane, and the same again, so that any shift is a plain slice.
    waves: [Vec<u8>; 3],
}

impl TestPicture {
    /// Pictures of this size, at least 16 by 16; `hue`, in degrees, tells one peer from another.
    pub fn new(width: u16, height: u16, hue: u16) -> Self {
        let hue = f32::from(hue);
        let sky = Colour::from_hue(hue, 0.55, 0.6);
        let glow = Colour::from_hue(hue + 50.0, 0.6, 0.85);
        let wave = |period: usize, from: u8, to: u8| -> Vec<u8> {
            let mix = |x: usize| 0.5 - 0.5 * (x as f32 / period as f32 * std::f32::consts::TAU).cos();
            (0..2 * period).map(|x| byte(f32::from(from) + (f32::from(to) - f32::from(from)) * mix(x))).collect()
        };
        let (width, height) = (width.max(16), height.max(16));
        let period = usize::from(width) * 2;
        TestPicture {
            width,
            height,
            hue,
            waves: [wave(period, sky.y, glow.y), wave(period / 2, sky.u, glow.u), wave(period / 2, sky.v, glow.v)],
        }
    }

    /// The picture number `frame`, drawn at `unix_us` microseconds since 1970. Movement follows the time.
    pub fn draw(&self, frame: u32, unix_us: u64) -> Picture {
        let mut picture = Picture::black(self.width, self.height);
        let scene = Scene {
            width: f32::from(self.width),
            height: f32::from(self.height),
            hue: self.hue,
            seconds: (unix_us % HOUR_US) as f32 / 1e6,
        };
        self.draw_sky(&mut picture, scene.seconds);
        let mut canvas = Canvas::new(&mut picture);
        scene.draw_ball(&mut canvas, code_height(usize::from(self.width)) as f32);
        scene.draw_person(&mut canvas);
        scene.draw_clock(&mut canvas, unix_us);
        TimeCode { frame, unix_us }.draw(&mut picture);
        picture
    }

    /// Slanted waves that drift to the left.
    fn draw_sky(&self, picture: &mut Picture, seconds: f32) {
        let (stride, half_stride) = picture.strides();
        let drift = f32::from(self.width) * seconds / 12.0;
        let planes = picture.planes_mut();
        let [y, u, v] = &self.waves;
        for (plane, wave, stride, drift) in [
            (planes.y, y, stride, drift),
            (planes.u, u, half_stride, drift / 2.0),
            (planes.v, v, half_stride, drift / 2.0),
        ] {
            let period = wave.len() / 2;
            let drift = usize::try_from(super::canvas::pixel(drift)).unwrap_or(0);
            for (line, pixels) in plane.chunks_exact_mut(stride).enumerate() {
                let start = (drift + line) % period;
                if let Some(wave) = wave.get(start..start + stride) {
                    pixels.copy_from_slice(wave);
                }
            }
        }
    }
}

/// One moment of the picture.
#[derive(Clone, Copy, Debug)]
struct Scene {
    width: f32,
    height: f32,
    hue: f32,
    seconds: f32,
}

impl Scene {
    /// A ball that bounces off the floor and the walls.
    fn draw_ball(&self, canvas: &mut Canvas<'_>, top: f32) {
        let radius = self.height * 0.07;
        let across = triangle(self.seconds / 3.7) * (self.width - 2.0 * radius) + radius;
        let fall = 1.0 - (2.0 * (self.seconds / 1.1).fract() - 1.0).powi(2);
        let room = (self.height - top - 2.0 * radius).max(0.0);
        let down = self.height - radius - fall * room * 0.8;
        canvas.ellipse((across, down), (radius, radius), Colour::from_hue(self.hue + 180.0, 0.8, 0.95));
        let shine = (across - radius * 0.3, down - radius * 0.35);
        canvas.ellipse(shine, (radius * 0.3, radius * 0.25), Colour::grey(225));
    }

    /// Somebody who sways, blinks and speaks.
    fn draw_person(&self, canvas: &mut Canvas<'_>) {
        let unit = self.height / 100.0;
        let sway = (self.seconds * 1.3).sin();
        let x = self.width * 0.5 + sway * unit * 3.0;
        let y = self.height * 0.5 + (self.seconds * 2.6).sin() * unit * 0.8;
        let shirt = Colour::from_hue(self.hue, 0.75, 0.55);
        let skin = Colour::from_hue(25.0, 0.42, 0.85);
        let hair = Colour::from_hue(25.0, 0.6, 0.22);
        canvas.ellipse((x - sway * unit, self.height + unit * 2.0), (unit * 34.0, unit * 30.0), shirt);
        canvas.rectangle(
            (super::canvas::pixel(x - unit * 5.0), super::canvas::pixel(y + unit * 12.0)),
            (super::canvas::pixel(unit * 10.0), super::canvas::pixel(unit * 14.0)),
            skin,
        );
        canvas.ellipse((x, y - unit * 3.0), (unit * 15.5, unit * 19.0), hair);
        canvas.ellipse((x + sway * unit * 0.5, y + unit), (unit * 13.0, unit * 16.5), skin);
        let blink = if (self.seconds / 3.1).fract() < 0.04 { 0.3 } else { 1.8 };
        for side in [-5.0, 5.0] {
            let eye = (x + (side + sway) * unit, y - unit * 2.0);
            canvas.ellipse(eye, (unit * 1.8, unit * blink), Colour::grey(30));
        }
        let speech = (self.seconds * 14.0).sin() * (self.seconds * 2.1).sin().max(0.0);
        let mouth = (x + sway * unit, y + unit * 9.0);
        canvas.ellipse(mouth, (unit * 4.5, unit * (0.7 + 2.2 * speech.abs())), Colour::from_hue(0.0, 0.6, 0.45));
    }

    /// The time of day (UTC) in seven-segment digits on a label in the peer's colour.
    fn draw_clock(&self, canvas: &mut Canvas<'_>, unix_us: u64) {
        let unit = (super::canvas::pixel(self.height / 100.0)).max(1);
        let (left, bottom) = (unit * 3, super::canvas::pixel(self.height) - unit * 3);
        let top = bottom - unit * 12;
        canvas.rectangle((left, top), (unit * 61, unit * 12), Colour::from_hue(self.hue, 0.8, 0.35));
        canvas.rectangle((left, top), (unit * 2, unit * 12), Colour::from_hue(self.hue, 0.9, 0.95));
        let seconds = unix_us / 1_000_000;
        let numbers = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, unix_us / 10_000 % 100];
        let mut x = left + unit * 5;
        for (index, number) in numbers.into_iter().enumerate() {
            if index > 0 {
                canvas.rectangle((x, top + unit * 4), (unit, unit), Colour::grey(230));
                canvas.rectangle((x, top + unit * 7), (unit, unit), Colour::grey(230));
                x += unit * 2;
            }
            for digit in [number / 10, number % 10] {
                draw_digit(canvas, (x, top + unit * 2), unit, digit);
                x += unit * 6;
            }
        }
    }
}

/// One digit, five units wide and eight high.
fn draw_digit(canvas: &mut Canvas<'_>, (x, y): (i32, i32), unit: i32, digit: u64) {
    let lit = SEGMENTS.get(usize::try_from(digit).unwrap_or(0)).copied().unwrap_or(0);
    let shapes = [(1, 0, 3, 1), (4, 1, 1, 3), (4, 5, 1, 3), (1, 8, 3, 1), (0, 5, 1, 3), (0, 1, 1, 3), (1, 4, 3, 1)];
    for (segment, (left, top, width, height)) in shapes.into_iter().enumerate() {
        if lit >> segment & 1 == 1 {
            let corner = (x + left * unit, y + top * unit);
            canvas.rectangle(corner, (width * unit, height * unit), Colour::grey(230));
        }
    }
}

/// Which segments each digit lights: top, right twice, bottom, left twice, middle.
const SEGMENTS: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];

/// Movement repeats after an hour, so that it stays smooth in single precision.
const HOUR_US: u64 = 3_600_000_000;

/// There and back again: 0 to 1 to 0 for each whole `turns`.
fn triangle(turns: f32) -> f32 {
    1.0 - (2.0 * turns.fract() - 1.0).abs()
}

#[cfg(test)]
mod tests {
    use meipo::units::{Bitrate, CaptureTime};

    use super::*;
    use crate::codec::{H264Encoder, VideoEncoder, VideoSettings};
    use crate::pattern::read_time_code;

    const START: u64 = 1_795_000_000_000_000;

    #[test]
    fn the_same_moment_gives_the_same_picture() {
        let pattern = TestPicture::new(320, 240, 200);
        assert_eq!(pattern.draw(7, START), pattern.draw(7, START));
        assert_ne!(pattern.draw(7, START), pattern.draw(7, START + 33_333));
    }

    #[test]
    fn every_size_and_hue_can_be_drawn() {
        for (width, height) in [(2, 2), (16, 16), (64, 48), (640, 360), (360, 640), (641, 479)] {
            for hue in [0, 90, 359, 720] {
                let picture = TestPicture::new(width, height, hue).draw(u32::MAX, u64::MAX);
                assert_eq!(picture.width(), usize::from(width.max(16)));
            }
        }
    }

    #[test]
    fn the_time_code_is_read_after_300_kilobits() {
        let settings = VideoSettings {
            width: 640,
            height: 480,
            millihertz: 30_000,
            bitrate: Bitrate::from_kilobits(300),
            max_bitrate: Bitrate::from_kilobits(1000),
            temporal_layers: 2,
        };
        let pattern = TestPicture::new(640, 480, 120);
        let mut encoder = H264Encoder::new(&settings).unwrap();
        let mut decoder = crate::codec::video_decoder(&track()).unwrap();
        let mut bytes = 0;
        for frame in 0..90 {
            let unix_us = START + u64::from(frame) * 33_333;
            let captured = CaptureTime::from_micros(u64::from(frame) * 33_333);
            let encoded = encoder.encode(&pattern.draw(frame, unix_us), captured).unwrap();
            bytes += encoded.data.len();
            let picture = decoder.decode(&encoded.data).unwrap().unwrap();
            assert_eq!(read_time_code(&picture), Some(TimeCode { frame, unix_us }));
        }
        assert!(bytes * 8 / 3 < 450_000, "{} b/s", bytes * 8 / 3);
    }

    fn track() -> meipo::media::Track {
        meipo::media::Track {
            id: meipo::units::TrackId(0),
            kind: meipo::media::TrackKind::Video { width: 640, height: 480, millihertz: 30_000 },
            source: meipo::media::TrackSource::TestPattern,
            codec: "avc1.42e01f".to_owned(),
            description: bytes::Bytes::new(),
            epoch_unix_us: 0,
        }
    }
}
