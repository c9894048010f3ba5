//! Ctrl-C and SIGTERM, counted.

use std::io;

use tokio::sync::watch;

/// How often the program was told to stop, as it changes.
///
/// # Errors
/// When the system does not let us listen for signals.
#[cfg(unix)]
pub fn stops() -> io::Result<watch::Receiver<u32>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (count, stops) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            count.send_modify(|count| *count += 1);
        }
    });
    Ok(stops)
}

/// How often the program was told to stop, as it changes.
///
/// # Errors
/// Never here.
#[cfg(not(unix))]
pub fn stops() -> io::Result<watch::Receiver<u32>> {
    let (count, stops) = watch::channel(0);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            count.send_modify(|count| *count += 1);
        }
    });
    Ok(stops)
}
