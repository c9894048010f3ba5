//! Draws test pictures anew, to compare with them what came of them: `redraw FILE FRAME-MICROSECONDS…` writes one picture
//! for each, in this order, as raw I420, 640×480.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::Context;
use peer::pattern::TestPicture;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut file = BufWriter::new(File::create(arguments.next().context("redraw FILE FRAME-MICROSECONDS…")?)?);
    let pattern = TestPicture::new(640, 480, HUE);
    for moment in arguments {
        let (frame, unix_us) = moment.split_once('-').with_context(|| format!("{moment} is no FRAME-MICROSECONDS"))?;
        file.write_all(pattern.draw(frame.parse()?, unix_us.parse()?).planes())?;
    }
    Ok(file.flush()?)
}

/// That of the pictures everybody sends.
const HUE: u16 = 200;
