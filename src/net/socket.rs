//! A UDP socket that takes and gives whole batches (GSO, GRO), for IPv4 and IPv6 at once where the machine has both.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use quinn_proto::EcnCodepoint;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::params::{SOCKET_BUFFER, UDP_BATCH};
use crate::path::candidate::canonical;
use crate::path::synthetic::is_synthetic;

/// A UDP socket.
#[derive(Debug)]
pub struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    is_v6: bool,
    unsent: AtomicU64,
}

/// What one call to the kernel delivered.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Where it comes from.
    pub from: SocketAddr,
    /// One or more datagrams.
    pub bytes: &'a [u8],
    /// Length of each but the last.
    pub segment: usize,
    /// Mark for congestion notification.
    pub ecn: Option<EcnCodepoint>,
}

/// Room for what one call to the kernel can deliver.
#[derive(Debug)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    batches: usize,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Socket {
    /// Binds `address`. `[::]` takes IPv4 as well; on a machine without IPv6 it becomes `0.0.0.0`.
    ///
    /// # Errors
    /// What the system says, for example that the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_any(address, false)
    }

    /// The same for one of several sockets with one port, of which some take more addresses than others.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind_shared(address: SocketAddr) -> io::Result<Self> {
        Self::bind_any(address, true)
    }

    fn bind_any(address: SocketAddr, is_shared: bool) -> io::Result<Self> {
        let any_v6 = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match Self::bind_exactly(address, is_shared) {
            Err(error) if any_v6 && error.kind() != io::ErrorKind::AddrInUse => {
                let any_v4 = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), address.port());
                Self::bind_exactly(any_v4, is_shared)
            }
            bound => bound,
        }
    }

    fn bind_exactly(address: SocketAddr, is_shared: bool) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            raw.set_only_v6(false)?;
        }
        raw.set_reuse_address(is_shared)?;
        raw.set_nonblocking(true)?;
        // The system may grant less; then bursts are lost earlier, nothing else.
        let _ = raw.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = raw.set_send_buffer_size(SOCKET_BUFFER);
        raw.bind(&address.into())?;
        let io = UdpSocket::from_std(raw.into())?;
        let state = UdpSocketState::new((&io).into())?;
        Ok(Socket { io, state, is_v6: address.is_ipv6(), unsent: AtomicU64::new(0) })
    }

    /// Where the socket is bound.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Datagrams of one size that one call can send.
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Datagrams the system did not take: its buffer was full, or there was no way.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Waits until something has arrived.
    pub async fn readable(&self) {
        if self.io.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What has arrived, batch by batch; `None` when nothing more is there.
    pub fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Option<impl Iterator<Item = Batch<'a>>> {
        let size = buffer.bytes.len() / buffer.batches;
        let count = loop {
            let mut slices = buffer.bytes.chunks_mut(size).map(IoSliceMut::new).collect::<Vec<_>>();
            let meta = buffer.meta.get_mut(..slices.len())?;
            let result = self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), &mut slices, meta));
            match result {
                Ok(count) => break count,
                // A port unreachable of somebody: news about him, not about the socket.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => continue,
                Err(_) => return None,
            }
        };
        let buffer: &'a ReceiveBuffer = buffer;
        let arrived = buffer.bytes.chunks(size).zip(&buffer.meta).take(count);
        Some(arrived.filter_map(|(bytes, meta)| {
            let bytes = bytes.get(..meta.len).filter(|bytes| !bytes.is_empty())?;
            // Inside, such an address means a tunnel or a peer; who claims it outside is neither.
            if is_synthetic(canonical(meta.addr).ip()) {
                return None;
            }
            Some(Batch { from: canonical(meta.addr), bytes, segment: meta.stride.max(1), ecn: meta.ecn.map(to_proto) })
        }))
    }

    /// Sends `bytes`, cut into datagrams of `segment` bytes. What the system does not take is lost, as on any network.
    pub fn send(&self, to: SocketAddr, bytes: &[u8], segment: Option<usize>, ecn: Option<EcnCodepoint>) {
        let Some(destination) = self.reachable(to) else {
            self.unsent.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let segment = segment.unwrap_or(bytes.len()).max(1);
        for piece in bytes.chunks(segment.saturating_mul(self.max_segments())) {
            let segment_size = (piece.len() > segment).then_some(segment);
            let ecn = ecn.map(to_udp);
            let transmit = Transmit { destination, ecn, contents: piece, segment_size, src_ip: None };
            // Past tokio, which holds a new socket for unwritable until it has polled it: nothing ever waits to write.
            if let Err(error) = self.state.try_send((&self.io).into(), &transmit) {
                tracing::trace!(%error, len = piece.len(), "datagrams not sent");
                self.unsent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The address in the socket's own family, if it can be reached through it.
    fn reachable(&self, to: SocketAddr) -> Option<SocketAddr> {
        match (to.ip(), self.is_v6) {
            (IpAddr::V4(v4), true) => Some(SocketAddr::new(v4.to_ipv6_mapped().into(), to.port())),
            (IpAddr::V6(_), false) => None,
            (IpAddr::V4(_), false) | (IpAddr::V6(_), true) => Some(to),
        }
    }
}

impl ReceiveBuffer {
    /// Room for a full batch with GRO.
    pub fn new() -> Self {
        Self::of(UDP_BATCH)
    }

    /// Room for one batch: for a socket that is one of hundreds.
    pub fn small() -> Self {
        Self::of(1)
    }

    fn of(batches: usize) -> Self {
        ReceiveBuffer { bytes: vec![0; batches * 65_536], batches, meta: [RecvMeta::default(); BATCH_SIZE] }
    }
}

impl Default for ReceiveBuffer {
    fn default() -> Self {
        Self::new()
    }
}

fn to_proto(ecn: quinn_udp::EcnCodepoint) -> EcnCodepoint {
    match ecn {
        quinn_udp::EcnCodepoint::Ect0 => EcnCodepoint::Ect0,
        quinn_udp::EcnCodepoint::Ect1 => EcnCodepoint::Ect1,
        quinn_udp::EcnCodepoint::Ce => EcnCodepoint::Ce,
    }
}

fn to_udp(ecn: EcnCodepoint) -> quinn_udp::EcnCodepoint {
    match ecn {
        EcnCodepoint::Ect0 => quinn_udp::EcnCodepoint::Ect0,
        EcnCodepoint::Ect1 => quinn_udp::EcnCodepoint::Ect1,
        EcnCodepoint::Ce => quinn_udp::EcnCodepoint::Ce,
    }
}
