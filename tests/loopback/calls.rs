//! Calls over real sockets.

use meipo::node::Event;
use meipo::path::{PathKind, Policy};
use tokio::time::{Duration, interval};

use crate::world::{Peer, Rendezvous, frame, video};

fn peer_joined(event: &Event) -> Option<()> {
    matches!(event, Event::PeerJoined { .. }).then_some(())
}

async fn publish(peer: &Peer, numbers: std::ops::Range<u32>) {
    let mut tick = interval(Duration::from_millis(5));
    for number in numbers {
        tick.tick().await;
        peer.endpoint.send(frame(1, number, 200 + (number as usize % 30) * 150));
    }
}

#[tokio::test]
async fn frames_arrive_bit_exact_and_in_order() {
    let rendezvous = Rendezvous::start().await;
    let mut watcher = rendezvous.peer("bob", |_| {}).await;
    watcher.wait("welcome", |event| matches!(event, Event::Joined { .. }).then_some(())).await;
    let mut publisher = rendezvous.peer("alice", |config| config.receives = false).await;
    publisher.endpoint.publish(video(1)).await.unwrap();
    publisher.wait("watcher", peer_joined).await;
    publish(&publisher, 0..120).await;
    let frames = watcher.frames(120).await;
    let sent: Vec<_> = (0..120).map(|number| frame(1, number, 200 + (number as usize % 30) * 150)).collect();
    assert_eq!(frames, sent);
}

#[tokio::test]
async fn peers_on_one_machine_go_direct() {
    let rendezvous = Rendezvous::start().await;
    let mut one = rendezvous.peer("bob", |_| {}).await;
    let _other = rendezvous.peer("alice", |_| {}).await;
    let direct = |event: &Event| matches!(event, Event::Path { kind: PathKind::Direct, .. }).then_some(());
    one.wait("direct path", direct).await;
}

#[tokio::test]
async fn who_wants_relays_only_stays_on_the_relay() {
    let rendezvous = Rendezvous::start().await;
    let mut watcher = rendezvous.peer("bob", |_| {}).await;
    let mut publisher = rendezvous.peer("alice", |config| config.policy = Policy::RelayOnly).await;
    publisher.endpoint.publish(video(1)).await.unwrap();
    publisher.wait("watcher", peer_joined).await;
    publish(&publisher, 0..60).await;
    watcher.frames(60).await;
    let is_direct = |event: &Event| matches!(event, Event::Path { kind: PathKind::Direct, .. });
    assert!(!watcher.seen.iter().chain(&publisher.seen).any(is_direct), "{:?}", watcher.seen);
}

#[tokio::test]
async fn a_late_joiner_sees_the_frames_since_the_last_key_frame() {
    let rendezvous = Rendezvous::start().await;
    let publisher = rendezvous.peer("alice", |_| {}).await;
    publisher.endpoint.publish(video(1)).await.unwrap();
    publish(&publisher, 0..40).await;
    let mut late = rendezvous.peer("bob", |_| {}).await;
    let frames = late.frames(10).await;
    let numbers: Vec<u32> = frames.iter().map(|frame| frame.number.0).collect();
    assert_eq!(numbers, (30..40).collect::<Vec<u32>>());
}

#[tokio::test]
async fn leaving_is_seen_at_once_and_loses_no_frame() {
    let rendezvous = Rendezvous::start().await;
    let mut watcher = rendezvous.peer("bob", |_| {}).await;
    let mut publisher = rendezvous.peer("alice", |_| {}).await;
    publisher.endpoint.publish(video(1)).await.unwrap();
    publisher.wait("watcher", peer_joined).await;
    publish(&publisher, 0..30).await;
    publisher.endpoint.end(meipo::units::TrackId(1));
    publisher.endpoint.leave().await;
    watcher.wait("goodbye", |event| matches!(event, Event::PeerLeft { .. }).then_some(())).await;
    assert_eq!(watcher.frames(30).await.len(), 30);
}

#[tokio::test]
async fn a_call_does_not_notice_that_the_rendezvous_is_killed_and_restarted() {
    let rendezvous = Rendezvous::start().await;
    let mut watcher = rendezvous.peer("bob", |_| {}).await;
    let mut publisher = rendezvous.peer("alice", |_| {}).await;
    publisher.endpoint.publish(video(1)).await.unwrap();
    publisher.wait("watcher", peer_joined).await;
    let direct = |event: &Event| matches!(event, Event::Path { kind: PathKind::Direct, .. }).then_some(());
    publisher.wait("direct path", direct).await;
    watcher.wait("direct path", direct).await;
    publish(&publisher, 0..60).await;
    let remains = rendezvous.kill().await;
    publish(&publisher, 60..120).await;
    let rendezvous = Rendezvous::restart(remains).await;
    let joined = |event: &Event| matches!(event, Event::Joined { .. }).then_some(());
    let rejoining = async { tokio::join!(publisher.wait_next("rejoin", joined), watcher.wait_next("rejoin", joined)) };
    rejoining.await;
    publish(&publisher, 120..180).await;
    let numbers: Vec<u32> = watcher.frames(180).await.iter().map(|frame| frame.number.0).collect();
    assert_eq!(numbers, (0..180).collect::<Vec<u32>>());
    drop(rendezvous);
}
