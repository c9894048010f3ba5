//! Asks STUN servers where they see us, one question at a time.

use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use super::endpoint::JoinError;
use super::socket::{ReceiveBuffer, Socket};
use crate::params::{DOCTOR_ATTEMPTS, DOCTOR_PATIENCE};
use crate::path::candidate::canonical;
use crate::wire::stun::{self, ChangeRequest, Class, TransactionId};

/// Asks STUN servers from one socket.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) socket: Socket,
    pub(super) buffer: ReceiveBuffer,
}

impl Asker {
    /// A socket that can reach `server`.
    pub(super) fn new(server: SocketAddr) -> Result<Self, JoinError> {
        let any = if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let address = any.parse().expect("an address with port 0");
        let socket = Socket::bind(address).map_err(|error| JoinError::Bind { address, error })?;
        Ok(Asker { socket, buffer: ReceiveBuffer::small() })
    }

    /// Where `server` sees us, and its other address; `None` if no answer comes.
    pub(super) async fn ask(
        &mut self,
        server: SocketAddr,
        change: ChangeRequest,
    ) -> Option<(SocketAddr, Option<SocketAddr>)> {
        for _ in 0..DOCTOR_ATTEMPTS {
            let id = TransactionId(self.random());
            self.socket.send(server, &stun::encode_request(id, None, change), None, None);
            let answer = |class: Class| match class {
                Class::Response { mapped, other } => Some((canonical(mapped), other.map(canonical))),
                Class::Request { .. } | Class::Error(_) => None,
            };
            if let Some(found) = self.hear(id, answer).await {
                return Some(found);
            }
        }
        None
    }

    /// Waits for a message of this transaction in which `find` finds something.
    pub(super) async fn hear<T>(&mut self, id: TransactionId, find: impl Fn(Class) -> Option<T>) -> Option<T> {
        let ends = Instant::now() + DOCTOR_PATIENCE;
        loop {
            timeout_at(ends, self.socket.readable()).await.ok()?;
            let Some(batches) = self.socket.receive(&mut self.buffer) else { continue };
            for batch in batches {
                let message = stun::decode(batch.bytes).ok().filter(|message| message.transaction == id);
                if let Some(found) = message.and_then(|message| find(message.class)) {
                    return Some(found);
                }
            }
        }
    }

    /// Bytes for a transaction.
    pub(super) fn random(&self) -> [u8; 12] {
        let mut id = [0; 12];
        // Without randomness the answers are still told apart from those of other questions by their order.
        let _ = getrandom::fill(&mut id);
        id
    }
}
