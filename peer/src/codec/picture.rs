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

    /// The picture in another size, not larger: each pixel is the mean of what it covers, as in a camera.
    pub fn shrunk(&self, width: u16, height: u16) -> Self {
        let (width, height) = (usize::from(width), usize::from(height));
        let (size, half) = ((width, height), (width.div_ceil(2), height.div_ceil(2)));
        let (from, from_half) = ((self.width, self.height), (self.width.div_ceil(2), self.height.div_ceil(2)));
        let planes = [(self.y(), from, size), (self.u(), from_half, half), (self.v(), from_half, half)];
        let planes = planes.map(|(plane, from, to)| shrink(plane, from, to)).concat();
        Picture { width, height, planes }
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

fn shrink(plane: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let whole = from.0 as u64 * from.1 as u64;
    let mut shrunk = Vec::with_capacity(to.0 * to.1);
    let mut sums = vec![0_u32; from.0];
    for line in 0..to.1 {
        sums.fill(0);
        for (index, share) in covered(line, from.1, to.1) {
            let pixels = plane.get(index * from.0..(index + 1) * from.0).unwrap_or_default();
            sums.iter_mut().zip(pixels).for_each(|(sum, pixel)| *sum += share * u32::from(*pixel));
        }
        shrunk.extend((0..to.0).map(|column| {
            let parts = covered(column, from.0, to.0);
            let parts = parts.map(|(index, share)| u64::from(share) * sums.get(index).copied().map_or(0, u64::from));
            u8::try_from((parts.sum::<u64>() + whole / 2) / whole).unwrap_or(u8::MAX)
        }));
    }
    shrunk
}

/// Which pixels of a line of `from` one pixel of a line of `to` covers, and how much of itself: `from` in all.
fn covered(pixel: usize, from: usize, to: usize) -> impl Iterator<Item = (usize, u32)> {
    let (begin, end) = (pixel * from, (pixel + 1) * from);
    let share = move |source: usize| end.min((source + 1) * to) - begin.max(source * to);
    (begin / to..end.div_ceil(to)).filter_map(move |source| Some((source, u32::try_from(share(source)).ok()?)))
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
    fn a_pixel_of_a_smaller_picture_is_the_mean_of_what_it_covers() {
        let planes = [vec![0, 90, 30, 0, 90, 30, 90, 0, 60], vec![100; 8]].concat();
        let picture = Picture::from_planes(3, 3, planes).unwrap().shrunk(2, 2);
        // In ninths of four: 4, 2, 2 and 1.
        assert_eq!(picture.y(), [30, 50, 50, 43]);
        assert_eq!((picture.u(), picture.v()), (&[100_u8][..], &[100_u8][..]));
        assert_eq!(Picture::black(640, 480).shrunk(160, 120), Picture::black(160, 120));
    }

    #[test]
    fn padding_between_lines_is_left_out() {
        let y = [1, 2, 0, 3, 4, 0];
        let picture = Picture::from_strided((2, 2), [&y, &[5], &[6]], (3, 1, 1)).unwrap();
        assert_eq!(picture.planes(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(Picture::from_strided((2, 3), [&y, &[5], &[6]], (3, 1, 1)), None);
    }
}
