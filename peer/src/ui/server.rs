//! The page's server: HTTP on 127.0.0.1, and one WebSocket to each page.
//!
//! Requests go in; files come out, or a 403 that says why. Whoever comes under another name than `127.0.0.1` (DNS
//! rebinding), or from another page than ours, gets nothing. A page that has said a valid hello becomes an [`Arrival`],
//! and so does everything it says after that; what it is told lies in its [`Outbox`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::door::Door;
use super::files;
use super::message::{FromPage, Media, MessageError, ToPage, VERSION};
use super::outbox::{Outbox, Outgoing};
use crate::params::{
    PAGE_BACKLOG, PAGE_FAREWELL, PAGE_GOODBYE, PAGE_HELLO, PAGE_MAX_MESSAGE, PAGE_MOST_STRANGERS, PAGE_SOCKET_BUFFER,
};

/// Tells pages apart that come one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageNumber(u64);

/// Something a page does.
#[derive(Debug)]
pub enum Arrival {
    /// It has said a valid hello.
    Opened {
        /// Which page.
        page: PageNumber,
        /// What it is told.
        outbox: Arc<Outbox>,
        /// Lets it in again.
        resume: String,
        /// The number it drew when a person opened it.
        visit: Option<u64>,
    },
    /// It says something.
    Said(PageNumber, Result<FromPage, MessageError>),
    /// It shows something.
    Media(PageNumber, Media),
    /// It is gone.
    Closed(PageNumber),
}

/// The server, while it runs.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    door: Mutex<Door>,
    port: u16,
    next: AtomicU64,
    strangers: Semaphore,
    arrivals: mpsc::Sender<Arrival>,
}

impl Server {
    /// Begins to serve; port 0 is any that is free.
    ///
    /// # Errors
    /// When the port cannot be had, or the system gives no randomness.
    pub fn start(port: u16) -> anyhow::Result<(Self, mpsc::Receiver<Arrival>)> {
        let listener = listen(port).with_context(|| format!("cannot serve the page on port {port}"))?;
        let port = listener.local_addr()?.port();
        let (arrivals, received) = mpsc::channel(PAGE_BACKLOG);
        let shared = Arc::new(Shared {
            door: Mutex::new(Door::new()?),
            port,
            next: AtomicU64::new(0),
            strangers: Semaphore::new(PAGE_MOST_STRANGERS),
            arrivals,
        });
        let router = Router::new()
            .route("/ws", get(upgrade))
            .fallback(any(serve_file))
            .layer(middleware::from_fn_with_state(shared.clone(), guard))
            .with_state(shared.clone());
        let listener = listener.tap_io(|socket| {
            // Without it each block of sound would wait for the one before to be acknowledged.
            let _ = socket.set_nodelay(true);
        });
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the page is served no longer");
            }
        });
        Ok((Server { shared, task }, received))
    }

    /// The address that lets a page in once.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn address(&self) -> anyhow::Result<String> {
        let mut door = self.shared.door.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(format!("http://127.0.0.1:{}/#{}", self.shared.port, door.renew()?.as_str()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // What lies in the system's buffer cannot be dropped any more when a page is slow; connections inherit this.
    socket.set_send_buffer_size(PAGE_SOCKET_BUFFER)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(64)
}

/// Lets only those through who came by our own address, and adds what holds for every answer.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let authority = format!("127.0.0.1:{}", shared.port);
    let mut response = match only(request.headers(), &HOST) {
        Some(host) if host == authority => next.run(request).await,
        Some(_) | None => {
            let sentence = format!("This page is only for http://{authority}, under this very name.\n");
            (StatusCode::FORBIDDEN, sentence).into_response()
        }
    };
    response.headers_mut().extend(files::headers(shared.port));
    response
}

async fn serve_file(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, "This page can only be read.\n").into_response();
    }
    match files::file(uri.path()) {
        Some((kind, bytes)) => ([files::content_type(kind)], bytes).into_response(),
        None => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
    }
}

async fn upgrade(State(shared): State<Arc<Shared>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let origin = format!("http://127.0.0.1:{}", shared.port);
    if only(&headers, &ORIGIN) != Some(origin.as_str()) {
        return (StatusCode::FORBIDDEN, "Only the page of this program may speak with it.\n").into_response();
    }
    let limited = upgrade.max_message_size(PAGE_MAX_MESSAGE).max_frame_size(PAGE_MAX_MESSAGE);
    limited.on_upgrade(move |socket| attend(shared, socket))
}

/// The value of a header that must be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// One page, from its hello to its end.
async fn attend(shared: Arc<Shared>, mut socket: WebSocket) {
    let Ok(stranger) = shared.strangers.try_acquire() else { return };
    let (token, visit) = match timeout(PAGE_HELLO, hello(&mut socket)).await {
        Ok(Ok(said)) => said,
        Ok(Err(message)) => return refuse(socket, message).await,
        Err(_) => return refuse(socket, "the page has not said hello in time".to_owned()).await,
    };
    let admitted = {
        let mut door = shared.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.admit(&token).map(|resume| resume.as_str().to_owned())
    };
    let resume = match admitted {
        Ok(resume) => resume,
        Err(refusal) => return refuse(socket, refusal.to_string()).await,
    };
    drop(stranger);
    let page = PageNumber(shared.next.fetch_add(1, Ordering::Relaxed));
    let outbox = Arc::new(Outbox::default());
    let opened = Arrival::Opened { page, outbox: outbox.clone(), resume, visit };
    if shared.arrivals.send(opened).await.is_ok() {
        converse(&shared, &mut socket, page, &outbox).await;
        let _ = shared.arrivals.send(Arrival::Closed(page)).await;
        let _ = timeout(PAGE_FAREWELL, farewell(&mut socket)).await;
        outbox.finish();
    }
}

/// The token in a page's first message and the number it drew, or what is wrong with it.
async fn hello(socket: &mut WebSocket) -> Result<(String, Option<u64>), String> {
    let Some(Ok(Message::Text(text))) = socket.recv().await else {
        return Err("the page must say hello first".to_owned());
    };
    match FromPage::parse(&text) {
        Ok(FromPage::Hello { version: VERSION, token, visit }) => Ok((token, visit)),
        Ok(FromPage::Hello { version, .. }) => {
            Err(format!("the page speaks version {version} and this program {VERSION}; load the page again"))
        }
        Ok(_) => Err("the page must say hello first".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn refuse(mut socket: WebSocket, message: String) {
    let _ = timeout(PAGE_GOODBYE, async {
        socket.send(Message::Text(text_of(&ToPage::Refused { message }).into())).await?;
        farewell(&mut socket).await
    })
    .await;
}

/// Closes, and reads on until the page has closed too. If something it said lay unread when the socket went, the system
/// would reset the connection, and what we said last might never be heard.
async fn farewell(socket: &mut WebSocket) -> Result<(), axum::Error> {
    socket.send(Message::Close(None)).await?;
    while socket.recv().await.transpose()?.is_some() {}
    Ok(())
}

/// Carries messages both ways until one side has enough.
async fn converse(shared: &Shared, socket: &mut WebSocket, page: PageNumber, outbox: &Outbox) {
    loop {
        tokio::select! {
            outgoing = outbox.next() => {
                let message = match outgoing {
                    Some(Outgoing::Text(text)) => Message::Text(text.into()),
                    Some(Outgoing::Bytes(bytes)) => Message::Binary(bytes),
                    None => return,
                };
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            received = socket.recv() => {
                let arrival = match received {
                    Some(Ok(Message::Text(text))) => Arrival::Said(page, FromPage::parse(&text)),
                    Some(Ok(Message::Binary(bytes))) => media(page, &bytes),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                // Where nobody listens any more, the page still hears why.
                let _ = shared.arrivals.send(arrival).await;
            }
        }
    }
}

fn media(page: PageNumber, bytes: &Bytes) -> Arrival {
    match Media::parse(bytes) {
        Ok(media) => Arrival::Media(page, media),
        Err(error) => Arrival::Said(page, Err(error)),
    }
}

/// A message as it is sent.
pub fn text_of<T: serde::Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("texts and numbers make JSON")
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpStream;
    use tokio_tungstenite::tungstenite::Message as Said;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    use super::*;

    #[tokio::test]
    async fn a_page_that_talks_on_hears_the_last_words_though_nobody_listens_any_more() {
        let (server, mut arrivals) = Server::start(0).unwrap();
        let url = server.address().unwrap();
        let (place, token) = url.split_once("/#").unwrap();
        let place = place.strip_prefix("http://").unwrap();
        let mut request = format!("ws://{place}/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{place}").parse().unwrap());
        let stream = TcpStream::connect(place).await.unwrap();
        let (mut page, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let hello = serde_json::json!({ "type": "hello", "version": VERSION, "token": token });
        page.send(Said::text(hello.to_string())).await.unwrap();
        let Some(Arrival::Opened { outbox, .. }) = arrivals.recv().await else { panic!("no page") };
        drop(arrivals);
        page.send(Said::text(r#"{ "type": "ping", "t": 1 }"#)).await.unwrap();
        // Answered once what was said before has been read.
        page.send(Said::Ping(Bytes::new())).await.unwrap();
        assert_eq!(page.next().await.unwrap().unwrap(), Said::Pong(Bytes::new()));
        outbox.tell("last words".to_owned());
        outbox.close();
        assert_eq!(page.next().await.unwrap().unwrap(), Said::text("last words"));
        assert!(page.next().await.unwrap().unwrap().is_close());
    }
}
