//! What comes out of the transfers: what is to be done, and what our page is told.

use bytes::Bytes;
use meipo::units::{PeerId, TransferId};

use super::offer::{FileId, Offer};
use crate::params::{FILE_MAX_OFFERS, FILE_MAX_TRANSFERS};

/// Something to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Task {
    /// Say this to a peer, or to all.
    Say(Option<PeerId>, Bytes),
    /// Take a transfer up to this byte; no longer if that is 0.
    Accept(PeerId, TransferId, u64),
    /// Send this piece.
    Send(PeerId, TransferId, u64, Bytes),
    /// Send no more of it.
    Cancel(PeerId, TransferId),
    /// Tell our page.
    Tell(News),
}

/// What our page is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// Somebody offers a file.
    Offered(PeerId, Offer),
    /// It cannot be had any longer.
    Withdrawn(PeerId, FileId),
    /// Blocks with this number are of that file.
    Begun {
        /// Whose.
        peer: PeerId,
        /// Which.
        id: FileId,
        /// The number.
        number: u32,
    },
    /// The next bytes of a file that comes.
    Block {
        /// Which.
        number: u32,
        /// Where they belong.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// A file does not come any further.
    Failed {
        /// From whom.
        peer: PeerId,
        /// Which.
        id: FileId,
        /// Why.
        reason: String,
    },
    /// One of our files goes no further to somebody.
    Stopped {
        /// Which, as the page numbers it.
        file: u32,
        /// To whom.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// Bytes of one of our files are wanted.
    Read {
        /// Which, as the page numbers it.
        file: u32,
        /// To be given back with the bytes.
        ticket: u32,
        /// Where they begin.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// So much of one of our files has arrived at somebody.
    Arrived {
        /// Which, as the page numbers it.
        file: u32,
        /// At whom.
        peer: PeerId,
        /// How many bytes.
        bytes: u64,
    },
}

/// Why our page cannot have what it wants.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Too many offers.
    #[error("you offer {FILE_MAX_OFFERS} files already; take one back first")]
    Offers,
    /// A number twice.
    #[error("a file with the number {0} is offered already")]
    Twice(u32),
    /// Not on offer.
    #[error("that file cannot be had any longer")]
    Gone,
    /// On its way already.
    #[error("that file is on its way already")]
    OnItsWay,
    /// Too many at a time.
    #[error("{FILE_MAX_TRANSFERS} files of one person are on their way; more can follow when one has come")]
    Transfers,
}
