//! Is the link what the rungs say? Packets with a time in them go over it, and what comes of them is told.

use std::net::UdpSocket;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use meipo::net::clock::Clock;
use meipo::units::Time;

use crate::emulator::Emulator;
use crate::median::quantile;
use crate::rungs::Rung;

/// Sends probes over each rung and prints what the link did to them.
pub(crate) fn check(emulator: &Emulator, rungs: &[Rung]) {
    println!("{COUNT} packets of {LEN} bytes, one each {} ms", PERIOD.as_millis());
    println!("{:10}{:>8}{:>10}{:>10}{:>10}{:>13}", "rung", "lost %", "p5 ms", "p50 ms", "p99 ms", " overtaken %");
    for rung in rungs {
        emulator.rewind(1);
        emulator.reshape(&rung.first());
        let mut delays = emulator.during(rung, PERIOD * COUNT, || probe(emulator));
        let lost = 100.0 - 100.0 * delays.len() as f64 / f64::from(COUNT);
        let numbers: Vec<u32> = delays.iter().map(|(number, _)| *number).collect();
        let overtaken = numbers.windows(2).filter(|two| matches!(two, [a, b] if a > b)).count() as f64;
        let share = 100.0 * overtaken / delays.len().max(1) as f64;
        let mut millis: Vec<f64> = delays.drain(..).map(|(_, delay)| delay.as_secs_f64() * 1e3).collect();
        let [p5, p50, p99] = [0.05, 0.5, 0.99].map(|share| quantile(&mut millis, share));
        println!("{:10}{lost:>8.2}{p5:>10.1}{p50:>10.1}{p99:>10.1}{share:>13.1}", rung.name);
    }
}

/// The numbers of the packets that arrived, in the order in which they did, and how long each took.
fn probe(emulator: &Emulator) -> Vec<(u32, Duration)> {
    let open = |host: &crate::emulator::Host| {
        host.enter(|| UdpSocket::bind((host.address, PORT))).expect("a port of a new host is free")
    };
    let (from, to) = (open(&emulator.near), open(&emulator.far));
    to.set_read_timeout(Some(SILENCE)).expect("a timeout is possible");
    let clock = Clock::start();
    let receiving = thread::spawn(move || {
        let mut arrived = Vec::new();
        let mut buffer = [0; LEN];
        while to.recv(&mut buffer).is_ok() {
            let [a, b, c, d, time @ ..] = buffer;
            let time: [u8; 8] = time.first_chunk().copied().unwrap_or_default();
            let sent = Time::from_micros(u64::from_be_bytes(time));
            arrived.push((u32::from_be_bytes([a, b, c, d]), clock.now().since(sent)));
        }
        arrived
    });
    // Nobody sends: the receiver is a clock that can be waited on.
    let (_never, ticks) = mpsc::channel::<()>();
    for number in 0..COUNT {
        let due = Time::ZERO + PERIOD * number;
        while clock.now() < due && ticks.recv_timeout(due.since(clock.now())) == Err(RecvTimeoutError::Timeout) {}
        let mut packet = [0; LEN];
        let (head, rest) = packet.split_at_mut(4);
        head.copy_from_slice(&number.to_be_bytes());
        rest.iter_mut().zip(clock.now().as_micros().to_be_bytes()).for_each(|(to, from)| *to = from);
        from.send_to(&packet, (emulator.far.address, PORT)).expect("the device takes packets");
    }
    receiving.join().expect("the receiver does not panic")
}

const COUNT: u32 = 3000;
const PERIOD: Duration = Duration::from_millis(4);
/// A thousand bytes with their headers: 2 Mbit/s.
const LEN: usize = 972;
const PORT: u16 = 7777;
const SILENCE: Duration = Duration::from_secs(1);
