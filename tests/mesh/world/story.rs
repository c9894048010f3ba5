//! What happened, for a person and for a comparison of two runs.
//!
//! The story is bounded; the trace is a number that two runs share only if they were the same.

use std::collections::VecDeque;
use std::fmt;

use meipo::units::Time;

#[derive(Debug)]
pub(crate) struct Story {
    milestones: VecDeque<String>,
    datagrams: VecDeque<String>,
    trace: u64,
    shape: u64,
}

impl Story {
    pub(crate) fn new() -> Self {
        Story { milestones: VecDeque::new(), datagrams: VecDeque::new(), trace: FNV_OFFSET, shape: FNV_OFFSET }
    }

    /// Something a reader wants to know long after.
    pub(crate) fn milestone(&mut self, now: Time, line: impl fmt::Display) {
        tell(&mut self.milestones, MILESTONES, now, &line);
        self.note(&format!("{now} {line}"));
    }

    /// One datagram and what became of it.
    pub(crate) fn datagram(&mut self, now: Time, line: impl fmt::Display, bytes: &[u8]) {
        tell(&mut self.datagrams, DATAGRAMS, now, &line);
        self.note(&format!("{now} {line}"));
        mix(&mut self.trace, bytes);
    }

    /// A hash over everything told so far.
    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    /// A hash over everything but what the datagrams carried.
    pub(crate) fn shape(&self) -> u64 {
        self.shape
    }

    fn note(&mut self, line: &str) {
        mix(&mut self.trace, line.as_bytes());
        mix(&mut self.shape, line.as_bytes());
    }
}

/// FNV-1a over words of eight bytes: the same on every machine and in every version of the compiler.
fn mix(hash: &mut u64, bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let rest = rest.iter().map(|byte| u64::from(*byte));
    for word in words.iter().map(|word| u64::from_le_bytes(*word)).chain(rest) {
        let mixed = (*hash ^ word).wrapping_mul(FNV_PRIME);
        // A product carries upwards only; the turn brings the high bits back down.
        *hash = mixed.rotate_left(29);
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.milestones {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "  the last datagrams:")?;
        for line in &self.datagrams {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

fn tell(lines: &mut VecDeque<String>, most: usize, now: Time, line: &impl fmt::Display) {
    if lines.len() == most {
        lines.pop_front();
    }
    lines.push_back(format!("{now} {line}"));
}

const MILESTONES: usize = 200;
const DATAGRAMS: usize = 60;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;
