//! One-way latency of media through the whole stack, over the same frames on bare UDP and on plain QUIC.
//!
//! From the first packet's sending to the whole frame in the application. All ways take turns within one run; sender,
//! receiver and rendezvous have a thread each.

#![expect(clippy::indexing_slicing, reason = "the arrays have the length of their list of contestants")]

#[path = "support/forwarder.rs"]
mod forwarder;
#[path = "support/media.rs"]
mod media;
#[path = "support/median.rs"]
mod median;
#[path = "support/rendezvous.rs"]
mod rendezvous;
#[path = "support/report.rs"]
mod report;
#[path = "support/ways.rs"]
mod ways;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use forwarder::{Carried, forward};
use media::{Stream, shots};
use median::{median, quantile};
use meipo::limits::Limits;
use rendezvous::Rendezvous;
use report::{Options, Report};
use ways::{Receiver, Sender, Way};

/// What is compared: a way, and for bare UDP whether a forwarder lies in it.
const CONTESTANTS: [(&str, Way, bool); 5] = [
    ("bare UDP", Way::Bare, false),
    ("plain quinn", Way::Quinn, false),
    ("meipo, direct", Way::Direct, false),
    ("bare UDP, forwarder", Way::Bare, true),
    ("meipo, relayed", Way::Relayed, false),
];

/// A frame has come: of which contestant, which stream, its number, when.
type Arrival = (usize, Stream, u32, Instant);

/// Medians and 95th percentiles of one turn, in microseconds: pictures, then sound.
type Turn = [f64; 4];

fn main() {
    let options = Options::read();
    let (rounds, span) = if options.is_quick { (3, Duration::from_secs(1)) } else { (7, Duration::from_secs(3)) };
    let rendezvous = Rendezvous::start(Limits::default());
    let rooms: Vec<_> = (1..).take(CONTESTANTS.len()).map(|room| rendezvous.link(room)).collect();
    let (arrivals, arrived) = mpsc::channel();
    let (opened, addresses) = mpsc::channel();
    std::thread::spawn(move || on_a_runtime(receive(rooms, opened, arrivals)));
    let addresses: Vec<String> = addresses.iter().take(CONTESTANTS.len()).collect();
    let turns = on_a_runtime(send(addresses, arrived, rounds, span));
    report(&turns).print(options);
}

/// As a task, which is cheaper to wake than what a runtime blocks on.
fn on_a_runtime<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(async { tokio::spawn(future).await.expect("no task panics") })
}

async fn receive(rooms: Vec<meipo::link::Link>, opened: mpsc::Sender<String>, arrivals: mpsc::Sender<Arrival>) {
    for (at, (room, (_, way, is_forwarded))) in rooms.into_iter().zip(CONTESTANTS).enumerate() {
        let (mut receiver, mut address) = Receiver::open(way, &room).await;
        if is_forwarded {
            let to = address.parse().expect("bare UDP gives an address");
            address = forwarder_towards(to).to_string();
        }
        let _ = opened.send(address);
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            loop {
                let (stream, number) = receiver.next().await;
                let _ = arrivals.send((at, stream, number, Instant::now()));
            }
        });
    }
    std::future::pending().await
}

/// A forwarder on a thread of its own, as the rendezvous has.
fn forwarder_towards(to: std::net::SocketAddr) -> std::net::SocketAddr {
    let (started, address) = mpsc::channel();
    std::thread::spawn(move || {
        on_a_runtime(async move {
            let _ = started.send(forward(to, Arc::new(Carried::default())).await);
            std::future::pending::<()>().await;
        });
    });
    address.recv().expect("the forwarder starts")
}

async fn send(
    addresses: Vec<String>,
    mut arrived: mpsc::Receiver<Arrival>,
    rounds: u32,
    span: Duration,
) -> Vec<Vec<Turn>> {
    let mut senders = Vec::new();
    for (address, (_, way, _)) in addresses.iter().zip(CONTESTANTS) {
        senders.push(Sender::open(way, address).await);
    }
    let mut turns = vec![Vec::new(); CONTESTANTS.len()];
    let mut first = vec![(0, 0); CONTESTANTS.len()];
    // The first round only warms up.
    for round in 0..=rounds {
        for (at, sender) in senders.iter().enumerate() {
            let turn = take_turn(sender, at, &mut first[at], &mut arrived, span).await;
            if round > 0 {
                turns[at].push(turn);
            }
        }
    }
    turns
}

async fn take_turn(
    sender: &Sender,
    contestant: usize,
    first: &mut (u32, u32),
    arrived: &mut mpsc::Receiver<Arrival>,
    span: Duration,
) -> Turn {
    let start = Instant::now() + Duration::from_millis(20);
    let mut sent = std::collections::HashMap::new();
    for shot in shots(span, *first) {
        sleep_until(start + shot.due).await;
        sent.insert((shot.stream, shot.number), Instant::now());
        sender.send(&shot).await;
        *if shot.stream == Stream::Picture { &mut first.0 } else { &mut first.1 } = shot.number + 1;
    }
    sleep(Duration::from_millis(100)).await;
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for (at, stream, number, when) in arrived.try_iter() {
        let Some(began) = sent.get(&(stream, number)).filter(|_| at == contestant) else { continue };
        let micros = when.duration_since(*began).as_secs_f64() * 1e6;
        if stream == Stream::Picture { pictures.push(micros) } else { sounds.push(micros) }
    }
    [
        quantile(&mut pictures, 0.5),
        quantile(&mut pictures, 0.95),
        quantile(&mut sounds, 0.5),
        quantile(&mut sounds, 0.95),
    ]
}

fn report(turns: &[Vec<Turn>]) -> Report {
    let columns = ["picture p50 µs", "picture p95 µs", "sound p50 µs", "sound p95 µs", "over bare", "over quinn"];
    let mut report = Report::new("One-way latency of frames, medians of alternating turns", &columns);
    let figures: Vec<Turn> =
        turns.iter().map(|turns| std::array::from_fn(|at| median(turns.iter().map(|turn| turn[at])))).collect();
    let (bare, quinn) = (figures[0][0], figures[1][0]);
    for ((name, ..), turn) in CONTESTANTS.iter().zip(&figures) {
        report.row(*name, [&turn[..], &[turn[0] / bare, turn[0] / quinn]].concat());
    }
    report.note(format!("added over bare UDP, direct: {:.0} µs", figures[2][0] - bare));
    let added = (figures[3][0] - bare, figures[4][0] - figures[2][0]);
    report.note(format!("added by a relay: bare forwarder {:.0} µs, ours {:.0} µs", added.0, added.1));
    report
}
