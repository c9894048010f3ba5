//! A thread for work that would hold up the call: decoding, writing files.
//!
//! Jobs go in without ever waiting, news comes out. What the thread cannot keep up with is refused, so that delay and
//! memory stay bounded.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::params::WORKER_BACKLOG;

/// A thread, seen from the call.
#[derive(Debug)]
pub struct Worker<Job, News> {
    jobs: mpsc::Sender<Job>,
    news: mpsc::UnboundedReceiver<News>,
    done: oneshot::Receiver<()>,
}

impl<Job: Send + 'static, News: Send + 'static> Worker<Job, News> {
    /// Starts a thread that does `work` until there are no more jobs.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        name: &str,
        work: impl FnOnce(mpsc::Receiver<Job>, mpsc::UnboundedSender<News>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, received) = mpsc::channel(WORKER_BACKLOG);
        let (sender, news) = mpsc::unbounded_channel();
        let (finished, done) = oneshot::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            work(received, sender);
            let _ = finished.send(());
        })?;
        Ok(Worker { jobs, news, done })
    }

    /// Hands in a job; `false` if the thread is too far behind.
    pub fn try_do(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// The next news; never returns once the thread has ended.
    pub async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Waits until every job is done, and gives the news of that.
    pub async fn finish(self) -> Vec<News> {
        let Worker { jobs, mut news, done } = self;
        drop(jobs);
        let _ = done.await;
        let mut rest = Vec::new();
        while let Ok(news) = news.try_recv() {
            rest.push(news);
        }
        rest
    }
}
