//! `peer id`: who this machine is to others.

use meipo::net::identity::Identity;
use serde_json::json;

use crate::args::Options;
use crate::identity;

/// Prints our id and where its key is; makes one if there is none.
///
/// # Errors
/// When the key file does not serve, or cannot be made.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let file = identity::file(options)?;
    let id = Identity::load_or_create(&file)?.id().to_string();
    if options.json {
        println!("{}", json!({ "id": id, "file": file.display().to_string() }));
    } else {
        println!("{id}");
        eprintln!("its key is kept in {}", file.display());
    }
    Ok(())
}
