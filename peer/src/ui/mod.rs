//! The page: served on this machine only, and spoken with over one WebSocket.
//!
//! ```text
//! server ← files, door       HTTP: who may have what; one page at a time, whose turn it is (turns)
//!   │ Arrival ↓   ↑ Outbox   what a page says, what it is told
//! host                       the page's side of a call: what it shows, what it is shown
//!   ├ message                text and bytes ⇄ values; every bound a page could break
//!   ├ publications           its pictures and sound as tracks and frames
//!   ├ file_desk              files it offers and takes
//!   ├ lanes                  pictures of others, as many as it can take
//!   └ memory                 what a page that comes later must know
//! ```
//! Nothing of a call is known to whoever lacks the token: other users of this machine and other pages of the browser can
//! read the files, which are public, and nothing else.

pub mod door;
pub mod file_desk;
pub mod files;
pub mod host;
pub mod lanes;
pub mod memory;
pub mod message;
pub mod outbox;
pub mod publications;
pub mod server;
pub mod turns;
