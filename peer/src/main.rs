//! The peer program: one command for each thing a person does in a room.

use std::process::ExitCode;

use clap::Parser;
use peer::args::{Args, Command, DoctorArgs, Options};
use peer::{call, demo, doctor, id, join, logging, publish, record, watch};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = &args.options;
    logging::start(options)?;
    options.policy()?;
    let runtime = Runtime::new()?;
    let result = match &args.command {
        Command::Id => id::run(options),
        Command::Doctor(doctor) => return examine(doctor, options, &runtime),
        Command::Join(join) => runtime.block_on(join::run(join, options)),
        Command::Call(call) => runtime.block_on(call::run(call, options)),
        Command::Publish(publish) => runtime.block_on(publish::run(publish, options)),
        Command::Watch(watch) => runtime.block_on(watch::run(watch, options)),
        Command::Record(record) => runtime.block_on(record::run(record, options)),
        Command::Demo(demo) => runtime.block_on(demo::run(demo, options)),
    };
    // A thread may wait for standard input for ever.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Where no call is possible the doctor's exit code says so, too.
fn examine(args: &DoctorArgs, options: &Options, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let link = args.resolve(options)?;
    let is_well = runtime.block_on(doctor::run(&link, !options.no_port_mapping, options.json))?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
