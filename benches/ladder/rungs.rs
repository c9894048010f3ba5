//! The rungs: what the network does to a call, from nothing to more than most calls survive.
//!
//! Links are those of the tests in virtual time, so that a rung here and a test there mean the same. Both directions get
//! the same treatment.

use std::time::Duration;

use meipo::units::Bitrate;

use crate::world::link::Link;

/// One kind of bad day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rung {
    /// What `--rung` calls it.
    pub(crate) name: &'static str,
    /// What a person calls it.
    pub(crate) title: &'static str,
    course: Course,
}

/// How a link changes while it is measured.
#[derive(Clone, Copy, Debug)]
enum Course {
    Steady(fn() -> Link),
    /// Stands still for a moment every few seconds, and then delivers all at once.
    Spikes,
    /// Three thirds: wide, narrow, wide.
    Step,
}

impl Rung {
    /// All of them.
    pub(crate) const ALL: [Rung; 11] = [
        Rung { name: "clean", title: "clean, 25 ms", course: Course::Steady(way) },
        Rung { name: "loss-2", title: "loss 2 %", course: Course::Steady(|| way().loss(0.02)) },
        Rung { name: "loss-10", title: "loss 10 %", course: Course::Steady(|| way().loss(0.1)) },
        Rung { name: "loss-20", title: "loss 20 %", course: Course::Steady(|| way().loss(0.2)) },
        Rung {
            name: "burst-10",
            title: "loss 10 % in bursts of 5",
            course: Course::Steady(|| way().burst_loss(0.1, 5.0)),
        },
        Rung { name: "loss-40", title: "loss 40 %", course: Course::Steady(|| way().loss(0.4)) },
        Rung {
            name: "jitter",
            title: "jitter 0–80 ms, reordering",
            course: Course::Steady(|| way().jitter(JITTER).reordering()),
        },
        Rung { name: "spikes", title: "spikes of 300 ms, one each 3 s", course: Course::Spikes },
        Rung { name: "step", title: "4 → 0.3 → 4 Mbit/s, a third each", course: Course::Step },
        Rung { name: "thin", title: "150 kbit/s", course: Course::Steady(|| narrowed(150)) },
        Rung {
            name: "far",
            title: "300 ms round trip, loss 5 %",
            course: Course::Steady(|| Link::with_delay(FAR).loss(0.05)),
        },
    ];

    /// The link with which a rung begins, while the call settles.
    pub(crate) fn first(&self) -> Link {
        match self.course {
            Course::Steady(link) => link(),
            Course::Spikes => way(),
            Course::Step => narrowed(WIDE_KBPS),
        }
    }

    /// What changes during a measurement of this length, and when.
    pub(crate) fn changes(&self, span: Duration) -> Vec<(Duration, Link)> {
        match self.course {
            Course::Steady(_) => Vec::new(),
            Course::Spikes => {
                let begins = (1..).map(|nth| SPIKE_PERIOD * nth).take_while(|begin| *begin < span);
                begins.flat_map(|begin| [(begin, Link::with_delay(SPIKE)), (begin + SPIKE_SPAN, way())]).collect()
            }
            Course::Step => vec![(span / 3, narrowed(NARROW_KBPS)), (span * 2 / 3, narrowed(WIDE_KBPS))],
        }
    }

    /// When a way that was narrow is wide again, if it ever is.
    pub(crate) fn widens_at(&self, span: Duration) -> Option<Duration> {
        matches!(self.course, Course::Step).then(|| span * 2 / 3)
    }
}

/// The link of every rung that says nothing else.
pub(crate) fn way() -> Link {
    Link::with_delay(DELAY)
}

fn narrowed(kilobits: u64) -> Link {
    way().bottleneck(Bitrate::from_kilobits(kilobits), QUEUE)
}

const DELAY: Duration = Duration::from_millis(25);
const FAR: Duration = Duration::from_millis(150);
const JITTER: Duration = Duration::from_millis(80);
/// A Wi-Fi that looks for other channels stops for about this long; what was sent meanwhile comes in one burst.
const SPIKE: Duration = Duration::from_millis(325);
/// How long packets go into a spike.
const SPIKE_SPAN: Duration = Duration::from_millis(60);
const SPIKE_PERIOD: Duration = Duration::from_secs(3);
/// What waits before a narrow link at most.
pub(crate) const QUEUE: Duration = Duration::from_millis(250);
const WIDE_KBPS: u64 = 4000;
const NARROW_KBPS: u64 = 300;
