//! A relay of its own, on another machine as it were.

use meipo::limits::Limits;
use meipo::link::Link;
use meipo::net::doctor::examine;
use meipo::net::identity::Identity;
use meipo::net::relay_server::RelayServer;
use meipo::node::Event;
use meipo::path::{PathKind, Policy};
use meipo::relay::Relay;
use meipo::wire::relay::RelayKey;
use meipo::wire::stun::is_stun;

use crate::world::{Rendezvous, frame, video};

#[tokio::test]
async fn frames_go_through_a_relay_of_its_own_when_the_rendezvous_relays_nothing() {
    let key = RelayKey::from_bytes([9; 32]);
    let machine = Relay::new(key.clone(), Limits::default().relay(), [8; 32]);
    let relay = RelayServer::bind("127.0.0.1:0".parse().unwrap(), machine).unwrap();
    let address = relay.local_address().unwrap();
    let reports = relay.reports();
    let running = tokio::spawn(relay.run());
    let rendezvous = Rendezvous::with(|config| {
        config.is_relay = false;
        config.relays = vec![(address, key)];
    })
    .await;
    let mut watcher = rendezvous.peer("bob", |_| {}).await;
    let mut publisher = rendezvous.peer("alice", |config| config.policy = Policy::RelayOnly).await;
    publisher.endpoint.publish(video(1)).await.unwrap();
    let path = |event: &Event| match event {
        Event::Path { kind, .. } => Some(*kind),
        _ => None,
    };
    assert_eq!(publisher.wait("path", path).await, PathKind::Relayed);
    for number in 0..30 {
        publisher.endpoint.send(frame(1, number, 1500));
    }
    watcher.frames(30).await;
    let mut reports = reports;
    reports.wait_for(|report| report.stats.packets > 0 && report.sessions == 1).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn the_doctor_finds_an_open_road_and_a_wrong_identity() {
    let rendezvous = Rendezvous::start().await;
    let link = rendezvous.link();
    let healthy = examine(&link, Identity::generate().unwrap(), false).await.unwrap();
    assert!(healthy.udp && healthy.identity.is_ok() && healthy.tunnel.is_ok(), "{healthy:?}");
    assert_eq!(healthy.is_translated, Some(false));
    let other = Identity::generate().unwrap().id();
    let wrong = Link::new(link.host().clone(), link.port(), link.room(), other, link.secret().clone()).unwrap();
    let diagnosis = examine(&wrong, Identity::generate().unwrap(), false).await.unwrap();
    assert!(diagnosis.udp && diagnosis.identity.is_err() && diagnosis.tunnel.is_err(), "{diagnosis:?}");
}

#[tokio::test]
async fn a_further_stun_server_is_asked_in_words_that_every_one_understands() {
    let rendezvous = Rendezvous::start().await;
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let name = server.local_addr().unwrap().to_string();
    let _peer = rendezvous.peer("alice", |config| config.stun_servers = vec![name]).await;
    let mut request = [0; 1500];
    let (len, _) = tokio::time::timeout(crate::world::PATIENCE, server.recv_from(&mut request)).await.unwrap().unwrap();
    assert_eq!(len, 20, "a header and no attribute");
    assert!(is_stun(&request[..len]));
}
