//! What a node does about the rules of a room's host.

use super::*;
use crate::params::PUT_OUT_TIME;
use crate::trust::host::HostKey;
use crate::trust::rules::{Exclusion, Rules};
use crate::wire::control::ToRendezvous;

#[test]
fn rules_of_the_host_are_told_and_handed_on_once_and_forged_ones_are_not() {
    let mut node = hosted();
    let rules = Rules { is_muted: true, number: 1, ..Rules::none(hosted_room()) };
    let forged = rules.clone().sign(&HostKey::from_bytes([66; 32])).unwrap();
    tell(&mut node, &FromRendezvous::Rules(forged));
    assert_eq!(events(&mut node), []);
    let signed = rules.clone().sign(&key()).unwrap();
    for _ in 0..2 {
        tell(&mut node, &FromRendezvous::Rules(signed.clone()));
    }
    assert_eq!(events(&mut node), [Event::Rules(rules)]);
    std::iter::from_fn(|| node.poll_action()).for_each(drop);
    tell(&mut node, &FromRendezvous::Welcome { observed: OBSERVED, stun_alternate: None });
    let reminded = talk::tell_rendezvous(&ToRendezvous::Rules(signed));
    assert!(std::iter::from_fn(|| node.poll_action()).any(|action| action == reminded), "a new process knows none");
}

#[test]
fn whoever_the_rules_exclude_is_not_met_whatever_the_rendezvous_says() {
    let mut node = hosted();
    let rules = Rules { removed: vec![peer(2)], number: 1, ..Rules::none(hosted_room()) };
    tell(&mut node, &FromRendezvous::Rules(rules.sign(&key()).unwrap()));
    introduce(&mut node, Member { tag: SECRET.tag(&hosted_room(), &peer(2)), ..member(2) });
    assert!(!node.expects(&peer(2)) && !node.accepts(&peer(2)));
    introduce(&mut node, Member { tag: SECRET.tag(&hosted_room(), &peer(3)), ..member(3) });
    assert!(node.expects(&peer(3)));
}

#[test]
fn a_rendezvous_cannot_say_that_somebody_was_removed() {
    let mut node = connected();
    tell(&mut node, &FromRendezvous::Left { peer: peer(2), reason: LeftReason::Removed });
    assert!(node.expects(&peer(2)));
    assert_eq!(events(&mut node), []);
}

#[test]
fn whoever_is_put_out_learns_why_says_nothing_more_and_is_gone_after_a_moment() {
    let mut node = hosted();
    introduce(&mut node, Member { tag: SECRET.tag(&hosted_room(), &peer(2)), ..member(2) });
    node.handle_peer_connected(peer(2), NOW);
    node.handle_peer_message(peer(2), &body(&codec::encode(&ToPeer::Hello { clock: 0 })), NOW).unwrap();
    events(&mut node);
    std::iter::from_fn(|| node.poll_action()).for_each(drop);
    let rules = Rules { removed: vec![peer(2)], number: 1, ..Rules::none(hosted_room()) };
    let signed = rules.clone().sign(&key()).unwrap();
    tell(&mut node, &FromRendezvous::Rules(signed.clone()));
    let left = Event::PeerLeft { peer: peer(2), reason: LeftReason::Removed };
    assert_eq!(events(&mut node), [Event::Rules(rules), left]);
    let told = talk::tell_peer(peer(2), &ToPeer::Rules(signed));
    assert_eq!(std::iter::from_fn(|| node.poll_action()).collect::<Vec<_>>(), [told]);
    let said = ToPeer::Said { bytes: Bytes::from_static(b"but") };
    node.handle_peer_message(peer(2), &body(&codec::encode(&said)), NOW).unwrap();
    node.handle_timeout(NOW + PUT_OUT_TIME - Duration::from_micros(1));
    assert_eq!((events(&mut node), node.poll_action()), (Vec::new(), None));
    node.handle_timeout(NOW + PUT_OUT_TIME);
    assert_eq!(node.poll_action(), Some(Action::Disconnect(Party::Peer(peer(2)), Close::Removed)));
    assert_eq!(events(&mut node), [], "it was gone before");
}

#[test]
fn whoever_is_excluded_leaves_at_once() {
    let mut node = hosted();
    let rules = Rules { admitted: Some(vec![peer(9)]), number: 1, ..Rules::none(hosted_room()) };
    tell(&mut node, &FromRendezvous::Rules(rules.clone().sign(&key()).unwrap()));
    assert_eq!(events(&mut node), [Event::Rules(rules), Event::Excluded(Exclusion::Locked)]);
    let actions: Vec<_> = std::iter::from_fn(|| node.poll_action()).collect();
    assert!(actions.contains(&Action::Disconnect(Party::Rendezvous, Close::Leaving)), "{actions:?}");
    node.handle_timeout(NOW + Duration::from_secs(60));
    assert_eq!(node.poll_action(), None, "and does not come back");
}

/// A guest alone in a room that has a host.
fn hosted() -> Node {
    joined_as(NodeConfig { host: Some(key().id()), ..config() })
}

fn key() -> HostKey {
    HostKey::from_bytes([7; 32])
}

fn hosted_room() -> RoomId {
    SECRET.claim(Some(key().id())).room_id()
}
