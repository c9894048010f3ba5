//! A Chromium without a window, told what to do over a pipe (Chrome DevTools Protocol), so that nothing of it is on the link.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::emulator::Host;

/// What the microphone of a browser hears, and where its sound goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sound<'a> {
    /// This file over and over; nobody hears what the page plays.
    File(&'a Path),
    /// Devices of a sound server, which is named as `PULSE_SERVER` names it.
    Devices { server: &'a str, microphone: &'a str, loudspeaker: &'a str },
}

impl Sound<'_> {
    fn give_to(self, command: &mut Command) {
        match self {
            Sound::File(voice) => {
                command.arg("--use-fake-device-for-media-stream");
                command.arg(format!("--use-file-for-fake-audio-capture={}", voice.display()));
            }
            Sound::Devices { server, microphone, loudspeaker } => {
                command.env("PULSE_SERVER", server);
                command.env("PULSE_SOURCE", microphone).env("PULSE_SINK", loudspeaker);
            }
        }
    }
}

/// A running browser with one page; dropped, it is killed.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    asked: u64,
    page: Option<String>,
    _profile: TempDir,
}

impl Browser {
    /// Opens `page`, a file, on `host`.
    pub(crate) fn open(host: &Host, page: &Path, sound: Sound<'_>) -> Result<Self, String> {
        let profile = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let mut command = host.command("sh");
        // The browser reads commands from descriptor 3 and answers on 4.
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", CHROMIUM]);
        command.args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        sound.give_to(&mut command);
        command.arg(format!("file://{}", page.display()));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().map_err(|error| format!("Chromium: {error}"))?;
        let commands = child.stdin.take().ok_or("a piped standard input")?;
        let stdout = child.stdout.take().ok_or("a piped standard output")?;
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let messages = BufReader::new(stdout).split(0).map_while(Result::ok);
            let values = messages.filter_map(|message| serde_json::from_slice(&message).ok());
            let _ = values.map(|value: Value| sender.send(value)).find(Result::is_err);
        });
        let mut browser = Browser { child, commands, answers, asked: 0, page: None, _profile: profile };
        browser.attach()?;
        Ok(browser)
    }

    /// What a JavaScript expression comes to, once it is settled.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.ask("Runtime.evaluate", &params)?;
        match result.get("exceptionDetails") {
            Some(details) => Err(format!("the page on {expression:.60}: {details}")),
            None => Ok(result.pointer("/result/value").cloned().unwrap_or_default()),
        }
    }

    /// Finds the page.
    fn attach(&mut self) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let targets = self.ask("Target.getTargets", &json!({}))?;
            let targets = targets.get("targetInfos").and_then(Value::as_array).cloned().unwrap_or_default();
            let page = targets.iter().find(|target| target["type"] == "page" && target["url"] != "about:blank");
            if let Some(page) = page {
                let params = json!({ "targetId": page["targetId"], "flatten": true });
                let session = self.ask("Target.attachToTarget", &params)?;
                self.page = session.get("sessionId").and_then(Value::as_str).map(str::to_owned);
                return self.wait_until_loaded();
            }
            let _ = self.answers.recv_timeout(PAUSE);
        }
        Err("Chromium has opened no page".to_owned())
    }

    fn wait_until_loaded(&mut self) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            if self.evaluate("location.protocol === 'file:' && document.readyState === 'complete'")? == true {
                return Ok(());
            }
            let _ = self.answers.recv_timeout(PAUSE);
        }
        Err("the page is not loaded".to_owned())
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.asked += 1;
        let mut command = json!({ "id": self.asked, "method": method, "params": params });
        if let (Some(page), Some(command)) = (&self.page, command.as_object_mut()) {
            command.insert("sessionId".to_owned(), page.as_str().into());
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).map_err(|error| format!("Chromium takes no commands: {error}"))?;
        loop {
            let answer =
                self.answers.recv_timeout(PATIENCE).map_err(|error| format!("Chromium on {method}: {error}"))?;
            if answer.get("id").and_then(Value::as_u64) != Some(self.asked) {
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(format!("Chromium on {method}: {error}")),
                None => Ok(answer.get("result").cloned().unwrap_or_default()),
            };
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked politely it takes its helpers with it; they also end when it is killed.
        let _ = self.ask("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CHROMIUM: &str = "chromium";
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-file-access-from-files",
    // Addresses of this machine instead of names that nobody here resolves.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--remote-debugging-pipe",
];
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: u32 = 100;
