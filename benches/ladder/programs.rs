//! The programs under test, built as they are released.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds what is not up to date.
    pub(crate) fn build() -> Result<Self, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--release", "--package", "peer", "--package", "rendezvous", "--bins", "--examples"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        // What cargo tells this bench of itself is not for the packages that are built: some are made anew for it.
        let told = std::env::vars_os().map(|(name, _)| name).filter(|name| is_told_by_cargo(name));
        told.for_each(|name| _ = command.env_remove(name));
        let status = command.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err("the programs cannot be built".to_owned());
        }
        let bench = std::env::current_exe().map_err(|error| format!("this program's place: {error}"))?;
        // …/release/deps/ladder-…
        let folder = bench.parent().and_then(Path::parent).ok_or("this program lies outside of target/")?;
        Ok(Programs { folder: folder.to_owned() })
    }

    /// A program of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where everything that is built lies.
    pub(crate) fn target(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// An example of the peer package of this name.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.folder.join("examples").join(name)
    }
}

fn is_told_by_cargo(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// What a program prints, once it has ended well.
pub(crate) fn output_of(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.stdout)
}
