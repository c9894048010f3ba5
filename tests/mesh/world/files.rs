//! A file that goes from one peer to another, as a program would send it: so much at a time, and all bytes tell their place.

use bytes::Bytes;
use meipo::node::{Event, Node};
use meipo::params::BULK_WINDOW;
use meipo::units::{PeerId, TransferId};

/// A file on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    to: PeerId,
    len: u64,
    given: u64,
    pub(crate) arrived: u64,
}

/// A file on its way in.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    has: Vec<bool>,
    /// Bytes of it, each counted once.
    pub(crate) got: u64,
}

/// The only transfer of these tests.
pub(crate) const FILE: TransferId = TransferId(9);

impl Outgoing {
    pub(crate) fn new(to: PeerId, len: u64) -> Self {
        Outgoing { to, len, given: 0, arrived: 0 }
    }

    pub(crate) fn handle_event(&mut self, event: &Event) {
        if let Event::BulkArrived { peer, transfer: FILE, bytes } = event
            && *peer == self.to
        {
            self.arrived += bytes;
        }
    }

    /// Gives as much as may be on its way.
    pub(crate) fn give(&mut self, node: &mut Node) {
        let end = self.len.min(self.arrived + BULK_WINDOW as u64);
        if end > self.given {
            let data: Bytes = (self.given..end).map(byte_at).collect::<Vec<u8>>().into();
            node.send_bulk(self.to, FILE, self.given, &data).expect("room");
            self.given = end;
        }
    }
}

impl Incoming {
    pub(crate) fn handle_event(&mut self, event: &Event) {
        let Event::Bulk { transfer: FILE, offset, data, .. } = event else { return };
        for (at, byte) in (*offset..).zip(data.iter()) {
            assert_eq!(*byte, byte_at(at), "byte {at} is not what was sent");
            let index = usize::try_from(at).expect("a small file");
            if self.has.len() <= index {
                self.has.resize(index + 1, false);
            }
            let is_new = !std::mem::replace(self.has.get_mut(index).expect("it was made"), true);
            self.got += u64::from(is_new);
        }
    }
}

/// The byte at this place of every file.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}
