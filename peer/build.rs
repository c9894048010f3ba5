//! Lists the files of the page, so that they are compiled into the program whatever they are called.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed={PAGE}");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join(PAGE);
    let mut list = String::from("&[\n");
    collect(&root, "", &mut list)?;
    list.push_str("]\n");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("page_files.rs"), list)
}

fn collect(folder: &Path, prefix: &str, list: &mut String) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, &format!("{name}/"), list)?;
        } else if SERVED.iter().any(|ending| name.ends_with(ending)) && !name.ends_with(".d.ts") {
            writeln!(list, "    ({name:?}, include_bytes!({path:?})),").map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Where the page lies.
const PAGE: &str = "src/ui/page";

/// What browsers ask for; licences and types of TypeScript are for whoever reads the source.
const SERVED: [&str; 5] = [".html", ".css", ".js", ".svg", ".png"];
