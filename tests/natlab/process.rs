//! A program under test: its events come in as JSON, one value a line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running program; dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    command: String,
    events: Receiver<Value>,
    seen: Vec<Value>,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` and reads what it prints.
    pub(crate) fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = child.stdout.take().expect("a piped standard output");
        let stderr = child.stderr.take().expect("a piped standard error");
        let (sender, events) = mpsc::channel();
        let log = Arc::default();
        let copy = Arc::clone(&log);
        thread::spawn(move || read_events(stdout, &sender));
        thread::spawn(move || read_log(stderr, &copy));
        Process { child, command: name, events, seen: Vec::new(), log }
    }

    /// The first event from now on that `matches`; panics with the story when none comes in time.
    pub(crate) fn wait_for(&mut self, what: &str, limit: Duration, matches: impl Fn(&Value) -> bool) -> Value {
        let found = self.look_for(limit, matches);
        found.unwrap_or_else(|| panic!("no {what} within {limit:?}\n{}", self.story()))
    }

    /// The first event from now on that `matches`, if one comes in time.
    pub(crate) fn look_for(&mut self, limit: Duration, matches: impl Fn(&Value) -> bool) -> Option<Value> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if matches(&event) {
                        return Some(event);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// All events of the next `span`.
    pub(crate) fn collect(&mut self, span: Duration) -> Vec<Value> {
        let before = self.seen.len();
        self.look_for(span, |_| false);
        self.seen.get(before..).unwrap_or_default().to_vec()
    }

    /// All events so far.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Ends the program without a warning.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends")
    }

    /// Asks the program to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child can be told to end");
        self.child.wait().expect("the child ends")
    }

    /// The command, its last events and what it logged.
    pub(crate) fn story(&self) -> String {
        let last = self.seen.iter().rev().take(30).rev();
        let events: Vec<String> = last.map(Value::to_string).collect();
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{}\nevents:\n{}\nlog:\n{log}", self.command, events.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, and nobody is left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes on the lines that are JSON.
fn read_events(stdout: impl Read, events: &Sender<Value>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Ok(value) = serde_json::from_str(&line)
            && events.send(value).is_err()
        {
            return;
        }
    }
}

fn read_log(stderr: impl Read, log: &Mutex<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
    }
}
