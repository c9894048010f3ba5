//! Drawing on a picture: spans, boxes and ellipses, clipped to its edges.

use crate::codec::{Picture, PlanesMut};

/// A colour as pictures store it: brightness and two differences.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Colour {
    pub(super) y: u8,
    pub(super) u: u8,
    pub(super) v: u8,
}

impl Colour {
    /// A grey.
    pub(super) const fn grey(y: u8) -> Self {
        Colour { y, u: 128, v: 128 }
    }

    /// A colour by its hue in degrees, its saturation and its brightness, both 0 to 1 (BT.601).
    pub(super) fn from_hue(hue: f32, saturation: f32, value: f32) -> Self {
        let channel = |offset: f32| {
            let k = (offset + hue / 60.0).rem_euclid(6.0);
            value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        let (r, g, b) = (channel(5.0), channel(3.0), channel(1.0));
        Colour {
            y: byte(16.0 + 65.5 * r + 128.6 * g + 25.0 * b),
            u: byte(128.0 - 37.8 * r - 74.2 * g + 112.0 * b),
            v: byte(128.0 + 112.0 * r - 93.8 * g - 18.2 * b),
        }
    }
}

/// The nearest byte.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, which is what is wanted"
)]
pub(super) fn byte(value: f32) -> u8 {
    value.round() as u8
}

/// The nearest pixel.
#[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, which is what is wanted")]
pub(super) fn pixel(value: f32) -> i32 {
    value.round() as i32
}

/// A picture being drawn on.
#[derive(Debug)]
pub(super) struct Canvas<'a> {
    width: usize,
    pub(super) planes: PlanesMut<'a>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(picture: &'a mut Picture) -> Self {
        Canvas { width: picture.width(), planes: picture.planes_mut() }
    }

    /// Fills one line from `left` up to `right`.
    pub(super) fn span(&mut self, line: i32, left: i32, right: i32, colour: Colour) {
        let (Ok(line), Ok(right)) = (usize::try_from(line), usize::try_from(right)) else {
            return;
        };
        let left = usize::try_from(left).unwrap_or(0);
        fill(self.planes.y, self.width, line, (left, right), colour.y);
        if line % 2 == 0 {
            let half = (left / 2, right.div_ceil(2));
            let stride = self.width.div_ceil(2);
            fill(self.planes.u, stride, line / 2, half, colour.u);
            fill(self.planes.v, stride, line / 2, half, colour.v);
        }
    }

    /// Fills a box.
    pub(super) fn rectangle(&mut self, (left, top): (i32, i32), (width, height): (i32, i32), colour: Colour) {
        for line in top..top.saturating_add(height) {
            self.span(line, left, left.saturating_add(width), colour);
        }
    }

    /// Fills an ellipse around a centre.
    pub(super) fn ellipse(&mut self, centre: (f32, f32), radii: (f32, f32), colour: Colour) {
        let (top, bottom) = (pixel(centre.1 - radii.1), pixel(centre.1 + radii.1));
        for line in top..=bottom {
            let distance = (line as f32 - centre.1) / radii.1;
            let half = radii.0 * (1.0 - distance * distance).max(0.0).sqrt();
            self.span(line, pixel(centre.0 - half), pixel(centre.0 + half), colour);
        }
    }
}

/// Fills a part of one line of a plane, as far as it lies inside.
fn fill(plane: &mut [u8], stride: usize, line: usize, (left, right): (usize, usize), value: u8) {
    let start = line.saturating_mul(stride);
    let right = right.min(stride);
    if left >= right {
        return;
    }
    if let Some(span) = plane.get_mut(start + left..start + right) {
        span.fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_not_drawn() {
        let mut picture = Picture::black(16, 16);
        let mut canvas = Canvas::new(&mut picture);
        canvas.rectangle((-5, -5), (100, 3), Colour::grey(200));
        canvas.ellipse((40.0, 40.0), (10.0, 10.0), Colour::grey(200));
        assert_eq!(picture, Picture::black(16, 16));
    }

    #[test]
    fn red_green_and_blue_are_those_of_the_standard() {
        assert_eq!(Colour::from_hue(0.0, 1.0, 1.0), Colour { y: 82, u: 90, v: 240 });
        assert_eq!(Colour::from_hue(120.0, 1.0, 1.0), Colour { y: 145, u: 54, v: 34 });
        assert_eq!(Colour::from_hue(240.0, 1.0, 1.0), Colour { y: 41, u: 240, v: 110 });
    }
}
