//! A raw picture: I420, its three planes one after the other without gaps.

use super::CodecError;

/// One raw picture in I420: a plane of brightness, and two of colour at half the width and height.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Picture {
    width: usize,
    height: usize,
    planes: Vec<u8>,
}

/// The three planes of a picture, to be drawn on.
#[derive(Debug)]
pub struct PlanesMut<'a> {
    /// Brightness.
    pub y: &'a mut [u8],
    /// Blue against yellow.
    pub u: &'a mut [u8],
    /// Red against green.
    pub v: &'a mut [u8],
}

impl Picture {
    /// A black picture.
    pub fn black(width: u16, height: u16) -> Self {
        let (width, height) = (usize::from(width), usize::from(height));
        let mut planes = vec![16; width * height];
        planes.resize(width * height + 2 * chroma_len(width, height), 128);
        Picture { width, height, planes }
    }

    /// The picture in `planes`: brightness, then the two colours, without gaps between lines.
    ///
    /// # Errors
    /// When the length is not that of a picture of this size.
    pub fn from_planes(width: u16, height: u16, planes: Vec<u8>) -> Result<Self, CodecError> {
        let (width, height) = (usize::from(width), usize::from(height));
        let expected = width * height + 2 * chroma_len(width, height);
        if planes.len() != expected {
            return Err(CodecError::PictureLength { found: planes.len(), expected });
        }
        Ok(Picture { width, height, planes })
    }

    /// Copies a picture whose lines lie `strides` bytes apart. `None` if a plane ends early.
    pub(super) fn from_strided(
        (width, height): (usize, usize),
        planes: [&[u8]; 3],
        strides: (usize, usize, usize),
    ) -> Option<Self> {
        let half = (width.div_ceil(2), height.div_ceil(2));
        let [y, u, v] = planes;
        let mut packed = Vec::with_capacity(width * height + 2 * half.0 * half.1);
        for (plane, stride, (width, height)) in
            [(y, strides.0, (width, height)), (u, strides.1, half), (v, strides.2, half)]
        {
            for line in 0..height {
                let start = line * stride;
                packed.extend_from_slice(plane.get(start..start + width)?);
            }
        }
        Some(Picture { width, height, planes: packed })
    }

    /// Pixels a line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Lines.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bytes from one line to the next, for brightness and for each colour.
    pub fn strides(&self) -> (usize, usize) {
        (self.width, self.width.div_ceil(2))
    }

    /// All three planes, one after the other.
    pub fn planes(&self) -> &[u8] {
        &self.planes
    }

    /// The plane of brightness.
    pub fn y(&self) -> &[u8] {
        self.planes.get(..self.width * self.height).unwrap_or_default()
    }

    /// The first plane of colour: blue against yellow.
    pub fn u(&self) -> &[u8] {
        let start = self.width * self.height;
        let len = chroma_len(self.width, self.height);
        self.planes.get(start..start + len).unwrap_or_default()
    }

    /// The second plane of colour: red against green.
    pub fn v(&self) -> &[u8] {
        let start = self.width * self.height + chroma_len(self.width, self.height);
        self.planes.get(start..).unwrap_or_default()
    }

    /// The three planes, to be drawn on.
    pub fn planes_mut(&mut self) -> PlanesMut<'_> {
        let chroma = chroma_len(self.width, self.height);
        let (y, colour) = self.planes.split_at_mut(self.width * self.height);
        let (u, v) = colour.split_at_mut(chroma);
        PlanesMut { y, u, v }
    }
}

/// Bytes of one plane of colour.
fn chroma_len(width: usize, height: usize) -> usize {
    width.div_ceil(2) * height.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_odd_size_rounds_its_colours_up() {
        let picture = Picture::black(5, 3);
        assert_eq!((picture.y().len(), picture.u().len(), picture.v().len()), (15, 6, 6));
    }

    #[test]
    fn a_picture_of_the_wrong_length_is_refused() {
        let error = Picture::from_planes(4, 4, vec![0; 23]).unwrap_err();
        assert_eq!(error.to_string(), "raw picture of 23 bytes; its size asks for 24");
    }

    #[test]
    fn padding_between_lines_is_left_out() {
        let y = [1, 2, 0, 3, 4, 0];
        let picture = Picture::from_strided((2, 2), [&y, &[5], &[6]], (3, 1, 1)).unwrap();
        assert_eq!(picture.planes(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(Picture::from_strided((2, 3), [&y, &[5], &[6]], (3, 1, 1)), None);
    }
}
