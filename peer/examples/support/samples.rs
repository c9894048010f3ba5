//! Keeps some of the test pictures that were shown, so that somebody else can compare them with what was drawn.
//!
//! In go pictures, out come files `FRAME-MICROSECONDS-WIDTHxHEIGHT.yuv` in a folder: raw I420, named after the time code in
//! the picture and its own size. A picture whose time code cannot be read is never kept, for nobody knows what it should be.

use std::fs;
use std::path::PathBuf;

use peer::codec::Picture;
use peer::pattern::read_time_code;

/// Looks at every picture and keeps about one a second.
#[derive(Debug)]
pub(crate) struct Samples {
    folder: PathBuf,
    /// When the next one is due, by the time in the pictures.
    due_unix_us: u64,
}

impl Samples {
    /// Keeps pictures in `folder`, which must be there.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Samples { folder: folder.into(), due_unix_us: 0 }
    }

    /// A picture is shown.
    pub(crate) fn handle_picture(&mut self, picture: &Picture) {
        let Some(code) = read_time_code(picture).filter(|code| code.unix_us >= self.due_unix_us) else { return };
        self.due_unix_us = code.unix_us.saturating_add(PERIOD_US);
        let name = format!("{}-{}-{}x{}.yuv", code.frame, code.unix_us, picture.width(), picture.height());
        if let Err(error) = fs::write(self.folder.join(&name), picture.planes()) {
            eprintln!("{name} cannot be kept: {error}");
        }
    }
}

/// A little less than a second, which is 29 pictures of 30 a second: so those that are kept stand at every place of their
/// groups and on every layer in turn.
const PERIOD_US: u64 = 950_000;
