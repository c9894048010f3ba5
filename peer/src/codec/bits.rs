//! Bits of a byte string, the most significant first. Reading past the end gives `None`.

/// A place in a byte string, counted in bits.
#[derive(Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    /// The first bit of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, position: 0 }
    }

    /// One bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub(crate) fn number(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb number (H.264 §9.1).
    pub(crate) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.number(zeros)?;
        Some((1_u32 << zeros) - 1 + rest)
    }

    /// A signed Exp-Golomb number (H.264 §9.1.1).
    pub(crate) fn signed_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.golomb()?);
        Some(if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golomb_numbers_are_read_as_the_standard_lists_them() {
        let mut bits = Bits::new(&[0xa6, 0x42, 0x80]);
        assert_eq!([(); 5].map(|()| bits.golomb().unwrap()), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn reading_past_the_end_gives_nothing() {
        let mut bits = Bits::new(&[0x80]);
        assert_eq!(bits.number(8), Some(128));
        assert_eq!(bits.flag(), None);
        assert_eq!(Bits::new(&[0; 8]).golomb(), None);
    }
}
