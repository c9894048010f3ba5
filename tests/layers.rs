//! The layer rule, read from the sources: arrows never point back, and the core has no clock.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the left to the right; siblings share a line and never import each other.
const LAYERS: [&[&str]; 7] = [
    &["units", "params"],
    &["bucket", "trust"],
    &["wire", "link"],
    &["path", "relay", "media", "rate", "overlay", "room"],
    &["limits"],
    &["node", "introducer"],
    &["net"],
];

/// What needs a clock, a socket, a thread or a lock, and so belongs to `net` and to the programs.
const SHELL_ONLY: [&str; 14] = [
    "tokio",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "rustls",
    "rcgen",
    "socket2",
    "getrandom",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "std::thread",
    "UdpSocket",
];

const MOST_LINES: usize = 400;

#[test]
fn no_layer_imports_from_its_right_or_from_a_sibling() {
    let mut wrong = Vec::new();
    for file in core_files() {
        let importer = layer_of(&file);
        for import in crate_imports(&code_of(&file)) {
            if !may_import(&importer, &import) {
                wrong.push(format!("{} imports {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_layers() {
    for file in core_files() {
        let layer = layer_of(&file);
        assert!(rank(&layer).is_some(), "{} belongs to no layer", file.display());
    }
}

#[test]
fn the_core_names_nothing_of_the_shell() {
    let mut wrong = Vec::new();
    for file in core_files().iter().filter(|file| layer_of(file) != "net") {
        for (number, line) in (1..).zip(code_of(file).lines()) {
            for word in SHELL_ONLY.iter().filter(|word| names(line, word)) {
                wrong.push(format!("{}:{number} names {word}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_outgrows_its_noun() {
    let mut wrong = Vec::new();
    for folder in ["src", "peer/src", "rendezvous/src"] {
        // One page of parameters is a table to look things up in, not code to read.
        let is_code = |file: &&PathBuf| !file.ends_with("tests.rs") && !file.ends_with("params.rs");
        for file in rust_files(&root().join(folder)).iter().filter(is_code) {
            let lines = without_tests(&read(file)).lines().count();
            if lines > MOST_LINES {
                wrong.push(format!("{}: {lines} lines without its tests", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_way_they_are_written() {
    let source = "use crate::wire::stun;\nuse crate::{media::{Frame, Track}, rate};\nlet a = crate::node::Node;";
    let found = crate_imports(source);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["media", "node", "rate", "wire"]);
}

#[test]
fn a_sibling_and_the_right_are_refused_and_the_left_is_not() {
    assert!(may_import("media", "wire"));
    assert!(may_import("media", "media"));
    assert!(!may_import("media", "rate"));
    assert!(!may_import("wire", "node"));
    assert!(may_import("params", "units"));
}

#[test]
fn a_name_is_a_whole_word_of_code() {
    assert!(names("use std::time::Instant;", "Instant"));
    assert!(names("std::thread::spawn(f)", "std::thread"));
    assert!(!names("an InstantReply", "Instant"));
    assert_eq!(without_comments("a(); // no Mutex here\n"), "a(); \n");
}

#[test]
fn tests_do_not_count_as_code() {
    let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(without_tests(source), "fn a() {}\n");
}

/// Whether `importer` may name something of `imported`; `units` and `params` are one place.
fn may_import(importer: &str, imported: &str) -> bool {
    let (Some(from), Some(to)) = (rank(importer), rank(imported)) else {
        return false;
    };
    importer == imported || to < from || (from, to) == (0, 0)
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|siblings| siblings.contains(&layer))
}

/// The first segment of every path that begins with `crate::`.
fn crate_imports(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, prefix) in source.match_indices("crate::") {
        let rest = source.get(at + prefix.len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads(group)),
            None => found.extend(identifier(rest)),
        }
    }
    found
}

/// The first segments of the paths in a group, up to its closing brace.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut is_start) = (0_usize, Vec::new(), true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            _ if is_start && depth == 0 && !letter.is_whitespace() => {
                heads.extend(identifier(group.get(at..).unwrap_or_default()));
                is_start = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|letter| is_of_word(*letter)).collect();
    (!word.is_empty()).then_some(word)
}

/// Whether `line` has `word` with nothing of a longer word around it.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_of_word) && !after.is_some_and(is_of_word)
    })
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// A file's code: neither its tests nor its comments.
fn code_of(file: &Path) -> String {
    without_comments(&without_tests(&read(file)))
}

/// A file's own lines, up to the module of its tests, which stands last.
fn without_tests(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    source.get(..end).unwrap_or_default().to_owned()
}

fn without_comments(source: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    source.lines().map(code).collect()
}

/// The module below `src/` that a file belongs to.
fn layer_of(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).expect("a file of src/");
    let first = Path::new(below.components().next().expect("a file has a name").as_os_str());
    first.with_extension("").display().to_string()
}

/// All files of the library but its map, `lib.rs`, and test-only files.
fn core_files() -> Vec<PathBuf> {
    let mut files = rust_files(&root().join("src"));
    files.retain(|file| !file.ends_with("src/lib.rs") && !file.ends_with("tests.rs"));
    assert!(!files.is_empty(), "src/ has files");
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a readable source")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
