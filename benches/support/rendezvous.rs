//! A rendezvous on the loopback interface, on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use meipo::limits::Limits;
use meipo::link::{Host, Link};
use meipo::net::identity::Identity;
use meipo::net::rendezvous_machine::RendezvousMachineConfig;
use meipo::net::server::{Listen, Server};
use meipo::trust::RoomSecret;
use tokio::sync::watch;

/// A running rendezvous; it ends with the process.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    address: SocketAddr,
    identity: Arc<Identity>,
}

impl Rendezvous {
    /// Starts one that allows `limits`.
    pub(crate) fn start(limits: Limits) -> Self {
        let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
        let config = RendezvousMachineConfig {
            identity: identity.clone(),
            limits,
            relays: Vec::new(),
            is_relay: true,
            stun_alternate: None,
            seed: [7; 32],
        };
        let (started, address) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be had").block_on(async {
                let listen = Listen { main: SocketAddr::from(([127, 0, 0, 1], 0)), alternate: None, tunnels: false };
                let server = Server::bind(listen, config).await.expect("a loopback port is free");
                let (_stop, stopped) = watch::channel(0);
                let _ = started.send(server.local_address().expect("a bound socket has an address"));
                server.run(stopped).await;
            });
        });
        Rendezvous { address: address.recv().expect("the rendezvous starts"), identity }
    }

    /// The link of the room with this number.
    pub(crate) fn link(&self, room: u8) -> Link {
        let host = Host::Ipv4([127, 0, 0, 1].into());
        let secret = RoomSecret::from_bytes([room; 16]);
        Link::new(host, self.address.port(), "bench", self.identity.id(), secret).expect("the link is one")
    }
}
