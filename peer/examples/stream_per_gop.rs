//! The test pattern, each group of pictures one QUIC stream: what `benches/ladder` compares with.
//!
//! ```text
//! stream_per_gop receive ADDR:PORT FOLDER  prints who it is, then what comes, as JSON; keeps some of the pictures
//! stream_per_gop send ADDR:PORT ID         draws, encodes and sends
//! ```
//! A group is two seconds. The newest goes first; one that is two groups old is given up, and so it is by the receiver as
//! soon as a newer one has a picture. A picture is shown when it has come: there is no buffer that evens out, so no better
//! delay is possible this way. The rate is fixed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use meipo::media::freeze::FreezeMeter;
use meipo::media::{Track, TrackKind, TrackSource};
use meipo::net::clock::unix_micros_now;
use meipo::net::identity::Identity;
use meipo::net::tls;
use meipo::units::{Bitrate, CaptureTime, Time, TrackId};
use peer::codec::{H264Decoder, H264Encoder, Picture, VideoDecoder, VideoEncoder, VideoSettings};
use peer::pattern::{TestPicture, read_time_code};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use serde_json::json;
use tokio::time::{Instant, interval, sleep_until};

#[path = "support/samples.rs"]
mod samples;

use samples::Samples;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", address, folder] => receive(address.parse()?, Samples::new(folder)).await,
        ["send", address, id] => send(address.parse()?, id).await,
        _ => bail!("stream_per_gop receive ADDR:PORT FOLDER, or stream_per_gop send ADDR:PORT ID"),
    }
}

async fn send(to: SocketAddr, id: &str) -> anyhow::Result<()> {
    let crypto = QuicClientConfig::try_from(tls::client_config(&Identity::generate()?, id.parse()?)?)?;
    let endpoint = Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0)))?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connection = endpoint.connect_with(config, to, "meipo.invalid")?.await?;
    let mut encoder = H264Encoder::new(&VideoSettings {
        width: WIDTH,
        height: HEIGHT,
        millihertz: RATE * 1000,
        bitrate: Bitrate::from_kilobits(1200),
        max_bitrate: Bitrate::from_kilobits(1200),
        temporal_layers: 1,
    })?;
    let pattern = TestPicture::new(WIDTH, HEIGHT, 200);
    let mut groups = Groups::default();
    let begin = Instant::now();
    for frame in 0_u32.. {
        let since = Duration::from_secs(1) * frame / RATE;
        sleep_until(begin + since).await;
        if frame.is_multiple_of(GROUP) {
            encoder.force_key();
            groups.begin(&connection, i32::try_from(frame / GROUP)?).await?;
        }
        let picture = pattern.draw(frame, unix_micros_now());
        let captured = CaptureTime::from_micros(u64::try_from(since.as_micros())?);
        groups.push(encoder.encode(&picture, captured)?.data);
    }
    Ok(())
}

/// The groups that are on their way, each written by a task of its own so that a slow one holds up nobody.
#[derive(Default)]
struct Groups {
    open: VecDeque<(tokio::sync::mpsc::UnboundedSender<bytes::Bytes>, tokio::task::AbortHandle)>,
}

impl Groups {
    /// Begins a group, and gives up the one before the last.
    async fn begin(&mut self, connection: &Connection, number: i32) -> anyhow::Result<()> {
        let stream = connection.open_uni().await?;
        stream.set_priority(number)?;
        let (pictures, waiting) = tokio::sync::mpsc::unbounded_channel();
        let writing = tokio::spawn(write(stream, waiting));
        self.open.push_back((pictures, writing.abort_handle()));
        if self.open.len() > 2
            && let Some((_, writing)) = self.open.pop_front()
        {
            // A stream that is dropped unfinished is reset.
            writing.abort();
        }
        Ok(())
    }

    fn push(&mut self, picture: bytes::Bytes) {
        if let Some((pictures, _)) = self.open.back() {
            // A group the receiver has given up takes nothing.
            let _ = pictures.send(picture);
        }
    }
}

/// Writes pictures, each after its length, until the group is over.
async fn write(
    mut stream: SendStream,
    mut pictures: tokio::sync::mpsc::UnboundedReceiver<bytes::Bytes>,
) -> anyhow::Result<()> {
    while let Some(picture) = pictures.recv().await {
        stream.write_all(&u32::try_from(picture.len())?.to_be_bytes()).await?;
        stream.write_all(&picture).await?;
    }
    stream.finish()?;
    // Whoever drops a stream before everything has come resets it.
    stream.stopped().await?;
    Ok(())
}

async fn receive(at: SocketAddr, samples: Samples) -> anyhow::Result<()> {
    let identity = Identity::generate()?;
    let crypto = QuicServerConfig::try_from(tls::server_config(&identity)?)?;
    let endpoint = Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), at)?;
    println!("{}", json!({ "event": "listening", "id": identity.id().to_string() }));
    let connection = endpoint.accept().await.context("the endpoint is open")?.await?;
    let screen = Arc::new(Mutex::new(Screen::new(samples)));
    let shown = screen.clone();
    tokio::spawn(async move {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            println!("{}", shown.lock().unwrap_or_else(PoisonError::into_inner).report());
        }
    });
    for group in 0_u64.. {
        let stream = connection.accept_uni().await?;
        tokio::spawn(read(stream, group, screen.clone()));
    }
    Ok(())
}

/// Shows the pictures of a group as they come, until a newer group is shown.
async fn read(mut stream: RecvStream, group: u64, screen: Arc<Mutex<Screen>>) -> anyhow::Result<()> {
    let mut decoder = H264Decoder::new(&track())?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let mut data = vec![0; usize::try_from(u32::from_be_bytes(length))?.min(MOST_BYTES)];
        stream.read_exact(&mut data).await?;
        let picture = decoder.decode(&data)?;
        let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.bytes += data.len() as u64;
        if group < screen.group {
            return Ok(());
        }
        screen.group = group;
        if let Some(picture) = picture {
            screen.show(&picture);
        }
    }
}

/// What has been seen.
#[derive(Debug)]
struct Screen {
    group: u64,
    bytes: u64,
    pictures: u64,
    latency_us: u64,
    freezes: FreezeMeter,
    samples: Samples,
}

impl Screen {
    fn new(samples: Samples) -> Self {
        Screen { group: 0, bytes: 0, pictures: 0, latency_us: 0, freezes: FreezeMeter::default(), samples }
    }

    /// A picture is seen now.
    fn show(&mut self, picture: &Picture) {
        let Some(drawn) = read_time_code(picture) else { return };
        let now = unix_micros_now();
        self.pictures += 1;
        self.latency_us += now.saturating_sub(drawn.unix_us);
        self.freezes.handle_picture(Time::from_micros(now));
        self.samples.handle_picture(picture);
    }

    /// The last second, and all freezes.
    fn report(&mut self) -> serde_json::Value {
        let [bytes, pictures, latency_us] =
            [&mut self.bytes, &mut self.pictures, &mut self.latency_us].map(std::mem::take);
        json!({
            "event": "stats",
            "received_kbps": bytes as f64 * 8e-3,
            "pictures": pictures,
            "latency_ms": latency_us.checked_div(pictures).map(|mean| mean as f64 / 1e3),
            "freezes": self.freezes.freezes(),
            "freeze_ms": self.freezes.total().as_secs_f64() * 1e3,
        })
    }
}

fn track() -> Track {
    Track {
        id: TrackId(0),
        kind: TrackKind::Video { width: WIDTH, height: HEIGHT, millihertz: RATE * 1000 },
        source: TrackSource::TestPattern,
        codec: "avc1.42e01f".to_owned(),
        description: bytes::Bytes::new(),
        epoch_unix_us: 0,
    }
}

const WIDTH: u16 = 640;
const HEIGHT: u16 = 480;
const RATE: u32 = 30;
/// Pictures in a group.
const GROUP: u32 = 60;
/// More than any picture of this size takes.
const MOST_BYTES: usize = 1 << 20;
