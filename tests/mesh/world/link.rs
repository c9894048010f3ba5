//! A link: what a datagram suffers between its sender and its receiver.
//!
//! A datagram and the time go in; zero, one or two moments of arrival come out. The same seed and
//! the same datagrams give the same arrivals.

use std::time::Duration;

use meipo::units::{Bitrate, Time};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::chance::{chance, fraction};

/// How a link treats datagrams; a link without a word about something leaves it alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    delay: Duration,
    jitter: Duration,
    order: Order,
    loss: Loss,
    duplication: f64,
    bottleneck: Option<Bottleneck>,
    mtu: Option<usize>,
}

/// Whether jitter may let a datagram overtake an earlier one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Order {
    #[default]
    Kept,
    Mixed,
}

/// Which datagrams never arrive.
#[derive(Clone, Copy, Debug, Default)]
enum Loss {
    #[default]
    None,
    Random(f64),
    /// Gilbert–Elliott: a good state that loses nothing, a bad one that loses everything, and the
    /// probability a datagram of leaving each.
    Bursts {
        into: f64,
        out_of: f64,
    },
}

/// A rate, and how long its queue may become before its tail is dropped.
#[derive(Clone, Copy, Debug)]
struct Bottleneck {
    rate: Bitrate,
    queue: Duration,
    /// Whether what is in the queue has gone at once, and only counts (the generic cell rate algorithm, ITU-T I.371).
    is_policer: bool,
}

impl Link {
    /// A link that only takes its time.
    pub(crate) fn with_delay(delay: Duration) -> Self {
        Link { delay, ..Link::default() }
    }

    /// Adds up to `most` to the delay of each datagram, uniformly; order is kept.
    pub(crate) fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Lets jitter reorder datagrams.
    pub(crate) fn reordering(mut self) -> Self {
        self.order = Order::Mixed;
        self
    }

    /// Loses this share of the datagrams, each by itself.
    pub(crate) fn loss(mut self, share: f64) -> Self {
        self.loss = Loss::Random(share);
        self
    }

    /// Loses `share` of the datagrams in bursts of `length` datagrams on average.
    pub(crate) fn burst_loss(mut self, share: f64, length: f64) -> Self {
        let out_of = 1.0 / length;
        let into = out_of * share / (1.0 - share);
        self.loss = Loss::Bursts { into, out_of };
        self
    }

    /// Delivers this share of the datagrams twice.
    pub(crate) fn duplication(mut self, share: f64) -> Self {
        self.duplication = share;
        self
    }

    /// Moves at most `rate` and drops what would wait longer than `queue`.
    pub(crate) fn bottleneck(mut self, rate: Bitrate, queue: Duration) -> Self {
        self.bottleneck = Some(Bottleneck { rate, queue, is_policer: false });
        self
    }

    /// Passes at most `rate`, that of `burst` at once, and drops the rest: a bottleneck that nobody sees coming.
    pub(crate) fn policer(mut self, rate: Bitrate, burst: Duration) -> Self {
        self.bottleneck = Some(Bottleneck { rate, queue: burst, is_policer: true });
        self
    }

    /// Swallows every IP packet longer than `bytes` without a word.
    pub(crate) fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = Some(bytes);
        self
    }
}

/// A link at work: its shape, and what it remembers of the datagrams before.
#[derive(Debug)]
pub(crate) struct Carrier {
    link: Link,
    rng: ChaCha8Rng,
    in_burst: bool,
    busy_until: Time,
    last_arrival: Time,
    last_in_stream: Time,
}

impl Carrier {
    /// An idle link.
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Carrier {
            link,
            rng: ChaCha8Rng::seed_from_u64(seed),
            in_burst: false,
            busy_until: Time::ZERO,
            last_arrival: Time::ZERO,
            last_in_stream: Time::ZERO,
        }
    }

    /// Changes the shape; what is under way stays under way.
    pub(crate) fn reshape(&mut self, link: Link) {
        self.link = link;
    }

    /// When an IP packet of `len` bytes handed over at `now` arrives: never, once or twice.
    pub(crate) fn carry(&mut self, now: Time, len: usize) -> Arrivals {
        if self.link.mtu.is_some_and(|mtu| len > mtu) || self.loses() {
            return Arrivals::default();
        }
        let Some(departure) = self.departure(now, len) else {
            return Arrivals::default();
        };
        let first = self.arrival(departure);
        let second = chance(&mut self.rng, self.link.duplication).then(|| self.arrival(departure));
        Arrivals { first: Some(first), second }
    }

    /// When the same bytes arrive within a stream: what is lost is sent again, and all behind it in the stream waits, but nothing
    /// else.
    pub(crate) fn carry_in_stream(&mut self, now: Time, len: usize) -> Arrivals {
        let len = self.link.mtu.map_or(len, |mtu| len.min(mtu));
        let Some(lost) = (0..MOST_ATTEMPTS).find(|_| !self.loses()) else { return Arrivals::default() };
        let (departure, dropped) = self.departure(now, len).map_or((self.busy_until, 1), |departure| (departure, 0));
        let arrival = departure + self.link.delay + self.extra() + RETRANSMISSION * (lost + dropped);
        self.last_in_stream = self.last_in_stream.max(arrival);
        Arrivals { first: Some(self.last_in_stream), second: None }
    }

    fn loses(&mut self) -> bool {
        match self.link.loss {
            Loss::None => false,
            Loss::Random(share) => chance(&mut self.rng, share),
            Loss::Bursts { into, out_of } => {
                let turn = if self.in_burst { out_of } else { into };
                self.in_burst ^= chance(&mut self.rng, turn);
                self.in_burst
            }
        }
    }

    /// When the last bit leaves the queue, or `None` when the queue is full.
    fn departure(&mut self, now: Time, len: usize) -> Option<Time> {
        let Some(Bottleneck { rate, queue, is_policer }) = self.link.bottleneck else {
            return Some(now);
        };
        let start = self.busy_until.max(now);
        if start.since(now) > queue {
            return None;
        }
        let micros = (len as u64 * 8_000_000).div_ceil(rate.as_bits());
        self.busy_until = start + Duration::from_micros(micros);
        Some(if is_policer { now } else { self.busy_until })
    }

    fn extra(&mut self) -> Duration {
        self.link.jitter.mul_f64(fraction(&mut self.rng))
    }

    fn arrival(&mut self, departure: Time) -> Time {
        let arrival = departure + self.link.delay + self.extra();
        if self.link.order == Order::Mixed {
            return arrival;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }
}

/// When one datagram arrives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Arrivals {
    first: Option<Time>,
    second: Option<Time>,
}

impl Arrivals {
    /// Whether the datagram never arrives.
    pub(crate) fn is_lost(self) -> bool {
        self == Arrivals::default()
    }
}

impl Iterator for Arrivals {
    type Item = Time;

    fn next(&mut self) -> Option<Time> {
        self.first.take().or_else(|| self.second.take())
    }
}

/// The least time after which TCP sends again, on Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// A stream that gets nothing through for this many attempts has failed.
const MOST_ATTEMPTS: u32 = 50;
