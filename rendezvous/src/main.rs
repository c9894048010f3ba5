//! The rendezvous program: introduces peers to each other and steps aside.

use std::process::ExitCode;

use clap::Parser;
use rendezvous::args::{Args, Command};
use rendezvous::config::Config;
use rendezvous::invite::Invitation;
use rendezvous::{key_file, logging, relay, server};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rendezvous: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::resolve(&args.options)?;
    match args.command {
        None => {
            logging::start(config.log_json)?;
            Runtime::new()?.block_on(server::run(config, args.options.json))
        }
        Some(Command::Relay { key_file }) => {
            logging::start(config.log_json)?;
            let key = key_file::load_or_create(&key_file)?;
            Runtime::new()?.block_on(relay::run(config, key))
        }
        Some(Command::Invite { room, host }) => invite(&config, &room, host, args.options.json),
        Some(Command::CheckConfig) => {
            print!("{}", config.to_toml()?);
            Ok(())
        }
    }
}

/// The link alone goes to stdout, so that it can be piped; where there are two, each with a word for whom it is.
fn invite(config: &Config, room: &str, has_host: bool, is_json: bool) -> anyhow::Result<()> {
    let invitation = Invitation::new(config, room, has_host)?;
    if is_json {
        println!("{}", invitation.to_json());
    } else {
        println!("{}", invitation.links());
    }
    eprintln!("{}", invitation.hints());
    Ok(())
}
