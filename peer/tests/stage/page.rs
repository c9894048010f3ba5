//! A page that a test plays: `peer join` serves it, the test says and hears what a browser would.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use meipo::net::clock::unix_micros_now;
use meipo::units::{Bitrate, CaptureTime};
use peer::codec::{H264Encoder, VideoEncoder, VideoSettings};
use peer::pattern::TestPicture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::stage::{PATIENCE, Process, Room};

/// A running `peer join`; dropped, it is killed.
pub(crate) struct Program {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Program {
    /// Serves a page for somebody of this name.
    pub(crate) fn join(room: &Room, name: &str) -> Self {
        let mut process = room.peer(&["join", &room.link, "--no-browser", "--json", "--name", name]);
        let page = process.wait("page", |event| event["event"] == "page");
        Program { process, url: page["url"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn port(&self) -> u16 {
        let (_, rest) = self.url.split_once("http://127.0.0.1:").unwrap();
        rest.split_once('/').unwrap().0.parse().unwrap()
    }

    pub(crate) fn token(&self) -> &str {
        self.url.split_once('#').unwrap().1
    }

    pub(crate) fn terminate(&mut self) {
        assert!(self.process.terminate().success());
    }

    /// Whether it ends by itself, and well.
    pub(crate) fn ended(mut self) -> bool {
        self.process.ended().success()
    }
}

/// A page, without a browser around it.
pub(crate) struct Page {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) seen: Vec<Value>,
    pub(crate) media: Vec<Vec<u8>>,
}

impl Page {
    pub(crate) async fn try_connect(port: u16, host: &str, origin: Option<&str>) -> Result<Self, Error> {
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request()?;
        request.headers_mut().insert("host", host.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Page { socket, seen: Vec::new(), media: Vec::new() })
    }

    pub(crate) async fn connect(program: &Program) -> Self {
        let ours = format!("127.0.0.1:{}", program.port());
        Page::try_connect(program.port(), &ours, Some(&format!("http://{ours}"))).await.unwrap()
    }

    /// Connects, says hello with the ticket, and gives the welcome.
    pub(crate) async fn open(program: &Program) -> (Self, Value) {
        let mut page = Page::connect(program).await;
        page.say(json!({ "type": "hello", "version": 1, "token": program.token() })).await;
        let welcome = page.wait("welcome", |message| message["type"] == "welcome").await;
        (page, welcome)
    }

    /// Connects under a number, and gives the welcome.
    pub(crate) async fn open_as(program: &Program, token: &str, visit: u64) -> (Self, Value) {
        let mut page = Page::connect(program).await;
        page.say(json!({ "type": "hello", "version": 1, "token": token, "visit": visit })).await;
        let welcome = page.wait("welcome", |message| message["type"] == "welcome").await;
        (page, welcome)
    }

    pub(crate) async fn enter(&mut self, name: &str) {
        self.say(json!({ "type": "join", "name": name })).await;
        self.wait("room", |message| message["event"] == "joined").await;
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.text(message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// A page that is closed for what it sends may not get to send all of it.
    pub(crate) async fn bytes(&mut self, bytes: Vec<u8>) {
        let _ = self.socket.send(Message::binary(bytes)).await;
    }

    pub(crate) async fn error(&mut self, part: &str) {
        let says = |message: &Value| message["message"].as_str().is_some_and(|text| text.contains(part));
        self.wait(part, |message| message["event"] == "error" && says(message)).await;
    }

    /// The first message, seen or still to come, that `matches`; it is not found again.
    pub(crate) async fn wait(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let ends = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.iter().position(&matches) {
                return self.seen.remove(at);
            }
            assert!(self.receive(ends).await, "no {what}; seen: {:#?}", self.seen);
        }
    }

    /// Takes one message; `false` if none comes any more.
    pub(crate) async fn receive(&mut self, ends: Instant) -> bool {
        match timeout_at(ends, self.socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => self.seen.push(serde_json::from_str(&text).unwrap()),
            Ok(Some(Ok(Message::Binary(bytes)))) => self.media.push(bytes.to_vec()),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) | Err(_) => return false,
        }
        true
    }

    /// A message that has come and `matches`; it is not found again.
    pub(crate) fn take(&mut self, matches: impl Fn(&Value) -> bool) -> Option<Value> {
        let at = self.seen.iter().position(matches)?;
        Some(self.seen.remove(at))
    }

    pub(crate) async fn closed(&mut self) {
        let ends = Instant::now() + PATIENCE;
        while self.receive(ends).await {}
        assert!(Instant::now() < ends, "it is not closed; seen: {:#?}", self.seen);
    }

    /// Sends pictures and a tone as a camera and a microphone would, in real time; the pictures sent.
    pub(crate) async fn show_and_speak(&mut self, count: u32) -> Vec<(bool, u8, Vec<u8>)> {
        let settings = VideoSettings {
            width: 320,
            height: 240,
            millihertz: 30_000,
            bitrate: Bitrate::from_kilobits(300),
            max_bitrate: Bitrate::from_kilobits(300),
            temporal_layers: 2,
        };
        let mut encoder = H264Encoder::new(&settings).unwrap();
        let pictures = TestPicture::new(320, 240, 10);
        let mut ticks = tokio::time::interval(Duration::from_millis(30));
        let mut sent = Vec::new();
        for number in 0..count {
            ticks.tick().await;
            let now = unix_micros_now();
            let picture = pictures.draw(number, now);
            let encoded = encoder.encode(&picture, CaptureTime::from_micros(u64::from(number) * 30_000)).unwrap();
            let flags = u8::from(encoded.is_key) | encoded.temporal_layer << 1;
            self.bytes(media(1, flags, 1, now, &encoded.data)).await;
            sent.push((encoded.is_key, encoded.temporal_layer, encoded.data.to_vec()));
            for block in 0..3 {
                let start = (number * 3 + block) * 480;
                let samples: Vec<u8> = (start..start + 480).flat_map(|at| tone(at).to_le_bytes()).collect();
                self.bytes(media(2, 0, 2, now + u64::from(block) * 10_000, &samples)).await;
            }
        }
        sent
    }

    /// So many pictures of a lane, as they came.
    pub(crate) async fn pictures(&mut self, lane: u64, count: usize) -> Vec<(bool, u8, Vec<u8>)> {
        let ends = Instant::now() + PATIENCE;
        loop {
            let of_lane = |message: &&Vec<u8>| {
                message[0] == 1 && u64::from(u32::from_le_bytes(message[4..8].try_into().unwrap())) == lane
            };
            let found: Vec<_> = self.media.iter().filter(of_lane).collect();
            if found.len() >= count {
                return found.iter().map(|it| (it[1] & 1 == 1, it[1] >> 1 & 3, it[16..].to_vec())).collect();
            }
            let found = found.len();
            assert!(self.receive(ends).await, "{found} of {count} pictures; seen: {:#?}", self.seen);
        }
    }

    /// The pitch of what was heard in the middle of it, in hertz.
    pub(crate) async fn pitch(&mut self) -> f32 {
        let ends = Instant::now() + PATIENCE;
        loop {
            let heard: Vec<i16> =
                self.media.iter().filter(|message| message[0] == 2).flat_map(|message| samples(message)).collect();
            let is_loud = |block: &&[i16]| block.iter().any(|sample| sample.unsigned_abs() > 5000);
            let loud: Vec<i16> = heard.chunks(480).filter(is_loud).flatten().copied().collect();
            if loud.len() >= 36_000 {
                let middle = &loud[12_000..36_000];
                let rising = middle.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
                return rising as f32 * 2.0;
            }
            let loud = loud.len();
            assert!(self.receive(ends).await, "{loud} loud samples; seen: {:#?}", self.seen);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the wave stays within 10000")]
pub(crate) fn tone(at: u32) -> i16 {
    (10_000.0 * (std::f32::consts::TAU * TONE * at as f32 / 48_000.0).sin()) as i16
}

pub(crate) fn samples(message: &[u8]) -> Vec<i16> {
    assert_eq!(message.len(), 16 + 960);
    message[16..].chunks(2).map(|bytes| i16::from_le_bytes(bytes.try_into().unwrap())).collect()
}

pub(crate) fn media(track: u16, flags: u8, kind: u8, captured: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags];
    bytes.extend(track.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(captured.to_le_bytes());
    bytes.extend(data);
    bytes
}

/// The piece of a file that a page was told to read.
pub(crate) fn piece(read: &Value, file: &[u8]) -> Vec<u8> {
    let number = |field: &str| usize::try_from(read[field].as_u64().unwrap()).unwrap();
    let mut bytes = vec![3, 0, 0, 0];
    bytes.extend(u32::try_from(number("ticket")).unwrap().to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(&file[number("offset")..number("offset") + number("length")]);
    bytes
}

/// The head and the body of an answer over HTTP.
pub(crate) async fn fetch(port: u16, host: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

pub(crate) const TONE: f32 = 440.0;
