//! CPU time of a sender and of a receiver for each megabit of media, over the same on bare UDP and plain QUIC.
//!
//! Each of them is a process of its own, so that nothing else is counted; the rendezvous is in this one. On the loopback
//! interface a sender also pays for the IP stack of the receiver.

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

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use meipo::limits::Limits;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncBufReadExt;
use tokio::time::{Instant, sleep_until};

use media::{Shot, shots};
use median::median;
use rendezvous::Rendezvous;
use report::{Options, Report};
use ways::{Receiver, Sender, Way};

const WAYS: [(&str, Way); 4] = [
    ("bare UDP", Way::Bare),
    ("plain quinn", Way::Quinn),
    ("meipo, direct", Way::Direct),
    ("meipo, relayed", Way::Relayed),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, way, span_s, to] = &arguments[..]
        && let Some(way) = way.parse().ok().and_then(|way: usize| WAYS.get(way))
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let span = Duration::from_secs(span_s.parse().expect("the span is a number of seconds"));
        let (is_receiver, way, to) = (role == "receiver", way.1, to.clone());
        // As a task, which is cheaper to wake than what a runtime blocks on.
        let task = async move { if is_receiver { receive(way, &to).await } else { send(way, &to, span).await } };
        return runtime.expect("a runtime can be had").block_on(async { tokio::spawn(task).await.expect("no panic") });
    }
    measure(Options::read()).expect("the processes under test do not fail");
}

fn measure(options: Options) -> std::io::Result<()> {
    let (rounds, span) = if options.is_quick { (2, Duration::from_secs(2)) } else { (5, Duration::from_secs(6)) };
    let rendezvous = Rendezvous::start(Limits::default());
    let mut turns: [Vec<[f64; 3]>; WAYS.len()] = Default::default();
    for round in 0..rounds {
        for (at, turns) in turns.iter_mut().enumerate() {
            let room = u8::try_from(round * WAYS.len() + at + 1).unwrap_or(u8::MAX);
            turns.push(take_turn(at, span, &rendezvous.link(room).to_string())?);
        }
    }
    let columns = ["sender ms/Mbit", "receiver", "both", "over bare", "over quinn", "frames lost"];
    let mut report = Report::new("CPU time for each megabit of media, medians of alternating turns", &columns);
    let figures = turns.map(|turns| [0, 1, 2].map(|at| median(turns.iter().filter_map(|turn| turn.get(at).copied()))));
    let [[bare_s, bare_r, _], [quinn_s, quinn_r, _], ..] = figures;
    for ((name, _), [sender, receiver, lost]) in WAYS.iter().zip(figures) {
        let both = sender + receiver;
        report.row(*name, [sender, receiver, both, both / (bare_s + bare_r), both / (quinn_s + quinn_r), lost]);
    }
    report.note(format!("{rounds} turns of {} s each at 2 Mbit/s", span.as_secs()));
    report.print(options);
    Ok(())
}

/// Milliseconds of CPU per megabit of sender and receiver, and how many frames did not arrive.
fn take_turn(way: usize, span: Duration, room: &str) -> std::io::Result<[f64; 3]> {
    let mut receiver = Process::start("receiver", way, span, room)?;
    let address = receiver.line()?;
    let mut sender = Process::start("sender", way, span, &address)?;
    sender.line()?;
    receiver.tell("begin")?;
    sender.tell("begin")?;
    let sent: f64 = sender.line()?.parse().unwrap_or(f64::NAN);
    receiver.tell("end")?;
    let received = receiver.line()?;
    let (received, frames) = received.split_once(' ').unwrap_or_default();
    let shots: Vec<Shot> = shots(span, (0, 0));
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let megabits = shots.iter().map(|shot| shot.data.len() as f64 * 8e-6).sum::<f64>();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let lost = shots.len() as f64 - frames.parse().unwrap_or(0.0);
    let millis = |micros: f64| micros / 1e3 / megabits;
    Ok([millis(sent), millis(received.parse().unwrap_or(f64::NAN)), lost])
}

/// This program again, in one role.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(role: &str, way: usize, span: Duration, to: &str) -> std::io::Result<Self> {
        let arguments = [role, &way.to_string(), &span.as_secs().to_string(), to];
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let output = BufReader::new(child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?).lines();
        Ok(Process { child, input, output })
    }

    fn tell(&mut self, word: &str) -> std::io::Result<()> {
        writeln!(self.input, "{word}")
    }

    fn line(&mut self) -> std::io::Result<String> {
        self.output.next().ok_or(std::io::ErrorKind::UnexpectedEof)?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn receive(way: Way, room: &str) {
    // Bare UDP and QUIC have no room, but the link is one all the same.
    let (mut receiver, address) = Receiver::open(way, &room.parse().expect("the room is a link")).await;
    println!("{address}");
    let frames = Arc::new(AtomicU32::new(0));
    let counted = frames.clone();
    tokio::spawn(async move {
        loop {
            receiver.next().await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut words = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let _ = words.next_line().await;
    let began = cpu_micros();
    let _ = words.next_line().await;
    println!("{} {}", cpu_micros() - began, frames.load(Ordering::Relaxed));
    std::future::pending().await
}

async fn send(way: Way, to: &str, span: Duration) {
    let sender = Sender::open(way, to).await;
    println!("ready");
    let _ = tokio::io::BufReader::new(tokio::io::stdin()).lines().next_line().await;
    let began = cpu_micros();
    let start = Instant::now();
    for shot in shots(span, (0, 0)) {
        sleep_until(start + shot.due).await;
        sender.send(&shot).await;
    }
    sleep_until(start + span + Duration::from_millis(100)).await;
    println!("{}", cpu_micros() - began);
    std::future::pending().await
}

/// CPU time of this process so far.
fn cpu_micros() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}
