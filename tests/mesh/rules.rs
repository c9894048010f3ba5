//! The host of a room mutes, locks and removes; with an honest rendezvous, with none, and with a rogue one.

use meipo::node::{Event, Order, OrderError};
use meipo::trust::host::HostKey;
use meipo::trust::rules::Exclusion;
use meipo::units::Time;
use meipo::wire::control::LeftReason;

use crate::call::{Call, is_joined, is_peer_joined, millis, secs};
use crate::outages::restart;
use crate::switching::missing;
use crate::world::peer::PeerConfig;
use crate::world::rogue::Rogue;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn a_muted_room_hears_its_host_alone_and_everybody_again_afterwards() {
    for seed in seeds(3) {
        let Room { mut call, host, bob, carol, .. } = Room::new(Call::new(seed));
        order(&mut call, host, Order::Mute(true));
        call.world.run(secs(1));
        let since = call.world.now();
        call.world.run(secs(3));
        for listener in [host, bob] {
            assert!(!hears(&mut call, listener, carol, since), "seed {seed}");
            assert!(sees(&mut call, listener, carol, since), "seed {seed}: pictures go on");
        }
        assert!(call.sees_since(bob, host, since), "seed {seed}: the host is heard");
        order(&mut call, host, Order::Mute(false));
        assert!(call.meet(bob, carol, secs(1)), "seed {seed}");
        call.world.run(secs(2));
        // Of the four seconds, only what was on its way when the host spoke.
        let missing = missing(&call.sounds(bob, carol));
        assert!(missing < 5, "seed {seed}: {missing} sounds, though what is not sent is not missed");
    }
}

#[test]
fn whoever_is_removed_meets_nobody_any_more() {
    for seed in seeds(3) {
        let Room { mut call, host, bob, carol, configs } = Room::new(Call::new(seed));
        remove(&mut call, host, carol);
        call.world.run(secs(1));
        assert_eq!(excluded(&mut call, carol), [Exclusion::Removed], "seed {seed}");
        for other in [host, bob] {
            assert_eq!(lost(&mut call, other, carol), [LeftReason::Removed], "seed {seed}");
        }
        restart(&mut call, carol, &configs[2]);
        call.world.run(secs(5));
        assert_eq!(excluded(&mut call, carol), [Exclusion::Removed], "seed {seed}: again");
        assert_eq!((call.count(carol, is_joined), call.count(carol, is_peer_joined)), (0, 0), "seed {seed}");
        assert!(call.meet(host, bob, secs(1)), "seed {seed}: the others stay");
    }
}

#[test]
fn a_locked_room_takes_back_who_was_in_it_and_nobody_else() {
    for seed in seeds(3) {
        let Room { mut call, host, bob, carol, configs } = Room::new(Call::new(seed));
        order(&mut call, host, Order::Lock(true));
        call.world.run(secs(1));
        let dave = newcomer(&mut call, "dave");
        call.world.run(secs(3));
        assert_eq!(excluded(&mut call, dave), [Exclusion::Locked], "seed {seed}");
        assert_eq!(call.count(dave, is_peer_joined), 0, "seed {seed}");
        call.world.crash(bob);
        restart(&mut call, bob, &configs[1]);
        assert!(call.meet(bob, carol, secs(3)), "seed {seed}: {:?}", call.events(bob));
        order(&mut call, host, Order::Lock(false));
        call.world.run(secs(1));
        let erin = newcomer(&mut call, "erin");
        assert!(call.meet(erin, bob, secs(3)), "seed {seed}");
    }
}

#[test]
fn the_host_enters_its_locked_room_as_somebody_else_too() {
    for seed in seeds(2) {
        let Room { mut call, host, bob, .. } = Room::new(Call::new(seed));
        order(&mut call, host, Order::Lock(true));
        call.world.run(secs(1));
        call.with_peer(host, |peer, now| peer.leave(now));
        call.world.run(secs(1));
        let config = PeerConfig { host_key: Some(key()), ..guest(&mut call, "host again") };
        let again = call.join_as(config, INTERNET, Family::V4);
        assert!(call.meet(again, bob, secs(3)), "seed {seed}: {:?}", call.events(again));
        order(&mut call, again, Order::Lock(false));
        let dave = newcomer(&mut call, "dave");
        assert!(call.meet(dave, bob, secs(3)), "seed {seed}");
    }
}

#[test]
fn the_host_needs_no_rendezvous_and_one_that_restarts_learns_the_rules() {
    for seed in seeds(3) {
        let Room { mut call, host, bob, carol, configs } = Room::new(Call::new(seed));
        call.kill_rendezvous();
        call.world.run(secs(1));
        remove(&mut call, host, carol);
        order(&mut call, host, Order::Lock(true));
        call.world.run(secs(1));
        assert_eq!(excluded(&mut call, carol), [Exclusion::Removed], "seed {seed}");
        assert_eq!(lost(&mut call, bob, carol), [LeftReason::Removed], "seed {seed}");
        call.world.crash(host);
        call.restart_rendezvous();
        call.world.run(secs(5));
        restart(&mut call, carol, &configs[2]);
        let dave = newcomer(&mut call, "dave");
        call.world.run(secs(3));
        assert_eq!(excluded(&mut call, carol), [Exclusion::Removed], "seed {seed}: bob has told it");
        assert_eq!(excluded(&mut call, dave), [Exclusion::Locked], "seed {seed}");
        assert_eq!(call.count(carol, is_peer_joined) + call.count(dave, is_peer_joined), 0, "seed {seed}");
    }
}

#[test]
fn a_rogue_rendezvous_that_ignores_the_rules_changes_nothing() {
    for seed in seeds(3) {
        let Room { mut call, host, bob, carol, configs } = Room::new(Call::at(seed, Rogue::open));
        remove(&mut call, host, carol);
        order(&mut call, host, Order::Lock(true));
        order(&mut call, host, Order::Mute(true));
        call.world.run(secs(1));
        assert_eq!(excluded(&mut call, carol), [Exclusion::Removed], "seed {seed}");
        restart(&mut call, carol, &configs[2]);
        let dave = newcomer(&mut call, "dave");
        call.world.run(secs(5));
        for stranger in [carol, dave] {
            assert_eq!(call.count(stranger, is_joined), 1, "seed {seed}: the rogue lets everybody in");
            for member in [host, bob] {
                assert!(!call.sees_since(stranger, member, Time::ZERO), "seed {seed}");
                let id = call.id(stranger);
                let met = |event: &Event| matches!(event, Event::PeerJoined { peer, .. } if *peer == id);
                assert_eq!(call.count(member, met), usize::from(stranger == carol), "seed {seed}: not since then");
            }
        }
        let since = call.world.now();
        call.world.run(secs(1));
        assert!(call.sees_since(bob, host, since) && !hears(&mut call, host, bob, since), "seed {seed}");
    }
}

#[test]
fn only_a_host_can_give_orders_and_only_such_as_can_be() {
    for seed in seeds(1) {
        let Room { mut call, host, bob, carol, .. } = Room::new(Call::new(seed));
        let [ours, theirs] = [host, carol].map(|host| call.id(host));
        let try_order = |call: &mut Call, peer, order| {
            call.with_peer(peer, |peer, now| peer.act(now, |machine| machine.node().order(order, now)))
        };
        assert_eq!(try_order(&mut call, bob, Order::Remove(theirs)), Err(OrderError::NotHost));
        assert_eq!(try_order(&mut call, host, Order::Remove(ours)), Err(OrderError::Ourselves));
        let config = PeerConfig { host_key: Some(key()), ..guest(&mut call, "deputy") };
        let deputy = call.join_as(config, INTERNET, Family::V4);
        assert!(call.meet(deputy, host, secs(3)), "seed {seed}");
        let second = call.id(deputy);
        assert_eq!(try_order(&mut call, host, Order::Remove(second)), Err(OrderError::Host(second)));
        assert_eq!(try_order(&mut call, deputy, Order::Mute(true)), Ok(()));
        call.world.run(secs(1));
        let rules = |event: &Event| matches!(event, Event::Rules(rules) if rules.is_muted);
        assert_eq!(call.count(bob, rules), 1, "seed {seed}: each learns of it once");
    }
}

/// A host, two guests, and who they are; all have met.
struct Room {
    call: Call,
    host: HostId,
    bob: HostId,
    carol: HostId,
    configs: [PeerConfig; 3],
}

impl Room {
    fn new(mut call: Call) -> Self {
        let configs = ["host", "bob", "carol"].map(|name| guest(&mut call, name));
        let [of_host, of_bob, of_carol] = configs.clone();
        let of_host = PeerConfig { host_key: Some(key()), ..of_host };
        let [host, bob, carol] = [of_host, of_bob, of_carol].map(|config| call.join_as(config, INTERNET, Family::V4));
        for (one, other) in [(host, bob), (host, carol), (bob, carol)] {
            assert!(call.meet(one, other, secs(5)), "{}", call.world.story());
        }
        Room { call, host, bob, carol, configs }
    }
}

fn guest(call: &mut Call, name: &str) -> PeerConfig {
    PeerConfig { host: Some(key().id()), ..call.config(name) }
}

fn newcomer(call: &mut Call, name: &str) -> HostId {
    let config = guest(call, name);
    call.join_as(config, INTERNET, Family::V4)
}

fn order(call: &mut Call, host: HostId, order: Order) {
    let given = call.with_peer(host, |peer, now| peer.act(now, |machine| machine.node().order(order, now)));
    assert_eq!(given, Ok(()));
}

fn remove(call: &mut Call, host: HostId, whom: HostId) {
    let whom = call.id(whom);
    order(call, host, Order::Remove(whom));
}

/// Whether sound of `of` left the machine of `host` since then.
fn hears(call: &mut Call, host: HostId, of: HostId, since: Time) -> bool {
    call.sounds(host, of).last().is_some_and(|seen| seen.at > since + millis(100))
}

fn sees(call: &mut Call, host: HostId, of: HostId, since: Time) -> bool {
    call.pictures(host, of).last().is_some_and(|seen| seen.at > since + millis(100))
}

fn excluded(call: &mut Call, host: HostId) -> Vec<Exclusion> {
    let why = |(_, event)| if let Event::Excluded(why) = event { Some(why) } else { None };
    call.events(host).into_iter().filter_map(why).collect()
}

/// How `host` was told that `of` is gone.
fn lost(call: &mut Call, host: HostId, of: HostId) -> Vec<LeftReason> {
    let of = call.id(of);
    let reason = |(_, event)| if let Event::PeerLeft { peer, reason } = event { Some((peer, reason)) } else { None };
    let left = call.events(host).into_iter().filter_map(reason);
    left.filter(|(peer, _)| *peer == of).map(|(_, reason)| reason).collect()
}

fn key() -> HostKey {
    HostKey::from_bytes([7; 32])
}
