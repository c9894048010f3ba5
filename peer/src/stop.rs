//! When the program is to end: Ctrl-C, SIGTERM, the key `q`, a closed pipe.
//!
//! Asked once, it leaves politely; asked twice, it ends at once. Both are what the person wants, so both are success.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

/// Counts how often the program was asked to end. Clones count together.
#[derive(Clone, Debug)]
pub struct Stop {
    count: Arc<watch::Sender<u32>>,
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Stop { count: Arc::new(watch::Sender::new(0)) }
    }

    /// Asks once.
    pub fn ask(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Returns once it was asked.
    pub async fn asked(&self) {
        self.times(1).await;
    }

    /// Asks at each signal of the system; ends the process at the second one, after `restore`.
    ///
    /// # Errors
    /// When the system does not let us listen for signals.
    pub fn listen(&self, restore: fn()) -> io::Result<()> {
        self.listen_for_signals()?;
        let stop = self.clone();
        tokio::spawn(async move {
            stop.times(2).await;
            restore();
            std::process::exit(0);
        });
        Ok(())
    }

    async fn times(&self, times: u32) {
        // The sender lives as long as `self`, so the channel cannot be closed.
        let _ = self.count.subscribe().wait_for(|count| *count >= times).await;
    }

    #[cfg(unix)]
    fn listen_for_signals(&self) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let stop = self.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    stop.ask();
                }
            });
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn listen_for_signals(&self) -> io::Result<()> {
        let stop = self.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                stop.ask();
            }
        });
        Ok(())
    }
}

impl Default for Stop {
    fn default() -> Self {
        Stop::new()
    }
}
