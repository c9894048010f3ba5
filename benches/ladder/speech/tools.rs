//! The programs speech needs, and how one gets them.

use std::env;

use crate::options::Contender;

/// Says in one line what is missing for these contenders.
pub(super) fn find_all(contenders: &[Contender]) -> Result<(), String> {
    let browser = BROWSER.iter().filter(|_| contenders.contains(&Contender::Chromium));
    let missing: Vec<&(&str, &str)> = TOOLS.iter().chain(browser).filter(|(program, _)| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(format!("no {} here: apt-get install {}", programs.join(", "), packages.join(" ")))
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Each program and the Debian package that has it.
const TOOLS: [(&str, &str); 8] = [
    ("flite", "flite"),
    ("ffmpeg", "ffmpeg"),
    ("pulseaudio", "pulseaudio"),
    ("pacat", "pulseaudio-utils"),
    ("parec", "pulseaudio-utils"),
    ("pactl", "pulseaudio-utils"),
    ("python3", "python3-venv"),
    // `pesq` is compiled when it is installed.
    ("cc", "gcc libc6-dev python3-dev"),
];
const BROWSER: [(&str, &str); 1] = [("chromium", "chromium")];
