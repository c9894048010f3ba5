//! The least a relay can be: takes batches as GRO joins them and has GSO cut them again, for one destination.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What a forwarder has carried.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Packets.
    pub(crate) packets: AtomicU64,
    /// Batches they came in.
    pub(crate) batches: AtomicU64,
}

/// Starts forwarding to `to` on the current runtime; says where it listens.
pub(crate) async fn forward(to: SocketAddr, carried: Arc<Carried>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a loopback port is free");
    let address = socket.local_addr().expect("a bound socket has an address");
    tokio::spawn(run(socket, to, carried));
    address
}

async fn run(socket: UdpSocket, to: SocketAddr, carried: Arc<Carried>) {
    let state = UdpSocketState::new((&socket).into()).expect("the socket takes options");
    let mut buffers = vec![[0; 65_536]; BATCH_SIZE.min(8)];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    loop {
        let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let receive = || state.recv((&socket).into(), &mut slices, &mut metas);
        let Ok(count) = socket.async_io(Interest::READABLE, receive).await else { continue };
        for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
            let contents = buffer.get(..meta.len).unwrap_or_default();
            let stride = meta.stride.max(1);
            let segment_size = (meta.len > stride).then_some(stride);
            let transmit = Transmit { destination: to, ecn: meta.ecn, contents, segment_size, src_ip: None };
            let _ = state.try_send((&socket).into(), &transmit);
            carried.packets.fetch_add(meta.len.div_ceil(stride) as u64, Ordering::Relaxed);
            carried.batches.fetch_add(1, Ordering::Relaxed);
        }
    }
}
