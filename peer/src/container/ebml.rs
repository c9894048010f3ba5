//! EBML elements as they come in (RFC 8794): one header at a time, sizes known or not.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use super::{Problem, malformed};

/// The header of an element.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Element {
    /// Which element, marker bits included, as Matroska lists them.
    pub(super) id: u64,
    /// Bytes that follow; `None` where the writer did not know.
    pub(super) size: Option<u64>,
    /// Where its header begins.
    pub(super) offset: u64,
}

/// Reads elements one after the other from something that need not seek.
#[derive(Debug)]
pub(super) struct ElementReader<R> {
    input: R,
    offset: u64,
}

impl<R: Read> ElementReader<R> {
    pub(super) fn new(input: R) -> Self {
        ElementReader { input, offset: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next header; `None` where the input ends before or inside it.
    pub(super) fn next(&mut self) -> Result<Option<Element>, Problem> {
        let offset = self.offset;
        let Some(first) = self.byte()? else {
            return Ok(None);
        };
        let id_len = first.leading_zeros();
        if id_len > 3 {
            return Err(malformed(offset, format!("no element begins with {first:02x}")));
        }
        let Some(id) = self.number(u64::from(first), id_len)? else {
            return Ok(None);
        };
        let Some(first) = self.byte()? else {
            return Ok(None);
        };
        let size_len = first.leading_zeros();
        if size_len > 7 {
            return Err(malformed(offset, "element size longer than eight bytes"));
        }
        let marker = 0x80 >> size_len;
        let Some(size) = self.number(u64::from(first ^ marker), size_len)? else {
            return Ok(None);
        };
        let unknown = (1 << (7 * (size_len + 1))) - 1;
        Ok(Some(Element { id, size: (size != unknown).then_some(size), offset }))
    }

    /// The body of `element`; `None` where the input ends inside it.
    pub(super) fn body(&mut self, element: Element, what: &'static str, limit: u64) -> Result<Option<Bytes>, Problem> {
        let size = element.size.ok_or_else(|| malformed(element.offset, format!("{what} without a size")))?;
        if size > limit {
            return Err(Problem::TooLarge { offset: element.offset, what, size, limit });
        }
        let mut body = Vec::new();
        let read = (&mut self.input).take(size).read_to_end(&mut body)?;
        self.offset += read as u64;
        Ok((read as u64 == size).then(|| body.into()))
    }

    /// Steps over the body of `element`. Where its size is not known, its children are read next.
    pub(super) fn skip(&mut self, element: Element) -> Result<(), Problem> {
        let size = element.size.unwrap_or(0);
        self.offset += std::io::copy(&mut (&mut self.input).take(size), &mut std::io::sink())?;
        Ok(())
    }

    /// `count` more bytes below `head`, the most significant first.
    fn number(&mut self, head: u64, count: u32) -> Result<Option<u64>, Problem> {
        let mut number = head;
        for _ in 0..count {
            let Some(byte) = self.byte()? else {
                return Ok(None);
            };
            number = number << 8 | u64::from(byte);
        }
        Ok(Some(number))
    }

    /// One byte; `None` at the end.
    fn byte(&mut self) -> Result<Option<u8>, Problem> {
        let mut byte = [0];
        match self.input.read_exact(&mut byte) {
            Ok(()) => {
                self.offset += 1;
                let [byte] = byte;
                Ok(Some(byte))
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_size_is_seen_in_every_length() {
        for size in [&[0xff][..], &[0x7f, 0xff], &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            let bytes = [&[0x1f, 0x43, 0xb6, 0x75], size].concat();
            let element = ElementReader::new(&bytes[..]).next().unwrap().unwrap();
            assert_eq!((element.id, element.size), (0x1f43_b675, None));
        }
    }

    #[test]
    fn an_element_larger_than_allowed_is_refused_before_it_is_read() {
        let mut reader = ElementReader::new(&[0xa3, 0x40, 0xff, 0][..]);
        let element = reader.next().unwrap().unwrap();
        let error = reader.body(element, "block", 100).unwrap_err();
        assert_eq!(error.to_string(), "at byte 0: block of 255 bytes; at most 100 are read");
    }

    #[test]
    fn an_input_that_ends_inside_an_element_ends_quietly() {
        let mut reader = ElementReader::new(&[0xa3, 0x83, 1, 2][..]);
        let element = reader.next().unwrap().unwrap();
        assert_eq!(reader.body(element, "block", 100).unwrap(), None);
        assert_eq!(reader.next().unwrap(), None);
    }
}
