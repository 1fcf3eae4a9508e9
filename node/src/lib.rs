//! The binary `tiermesh` as a library: commands, configuration, and how a node is built, run and drained.
//!
//! The only place that joins all crates. It holds no rules of its own.

pub mod build;
pub mod commands;
pub mod config;
pub mod keyring;
pub mod local;
pub mod logging;
pub mod run;
pub mod seams;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use commands::{ca, check_config, doctor, init, linkage, recover};

/// Under load a node spent about a tenth of its time in glibc's allocator (`perf`, `tiermesh bench node`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tiermesh: finds and fetches a patient's records wherever in the province they were made.
#[derive(Debug, Parser)]
#[command(name = "tiermesh", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs a node.
    Run(run::Run),
    Init(init::Init),
    CheckConfig(check_config::CheckConfig),
    Doctor(doctor::Doctor),
    Recover(recover::Recover),
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Register and find patients at a running node.
    Patient(Online<cli::Patient>),
    /// Submit, find and fetch documents at a running node.
    Document(Online<cli::Document>),
    /// Shows what a running node says about itself and its links.
    Status(OnlineStatus),
    /// Lists what a running node refused of what its neighbours sent, each with why and whether it is settled since. Ask the node that
    /// received it; no record's contents are shown.
    Quarantine(OnlineQuarantine),
    /// Has a running node read its log again now, and says what was found.
    Scrub(OnlineScrub),
    /// Has an institution, or all institutions of a node, file with another node.
    Move(Online<cli::Move>),
    /// Shows and decides, at a running node, which registrations are one person.
    Person(Online<cli::Person>),
    #[command(subcommand)]
    Linkage(linkage::Linkage),
    #[command(flatten)]
    Demo(demo::Command),
}

/// An online command with the options of its connection, which offline commands do not have.
#[derive(Debug, clap::Args)]
struct Online<T: clap::Subcommand> {
    #[command(flatten)]
    global: cli::Global,
    #[command(subcommand)]
    command: T,
}

#[derive(Debug, clap::Args)]
struct OnlineStatus {
    #[command(flatten)]
    global: cli::Global,
    #[command(flatten)]
    status: cli::Status,
}

#[derive(Debug, clap::Args)]
struct OnlineQuarantine {
    #[command(flatten)]
    global: cli::Global,
    #[command(flatten)]
    quarantine: cli::Quarantine,
}

#[derive(Debug, clap::Args)]
struct OnlineScrub {
    #[command(flatten)]
    global: cli::Global,
    #[command(flatten)]
    scrub: cli::Scrub,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    main_of_release(model::feed::PROTOCOLS)
}

/// Runs the command line as a release would that speaks these versions of the feed's protocol: tests have neighbours of
/// different releases.
pub fn main_of_release(protocols: &[u32]) -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => run::run(&args, protocols),
        Command::Init(args) => init::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Ca(command) => ca::run(&command),
        Command::Patient(Online { global, command }) => online(cli::Command::Patient(command), &global),
        Command::Document(Online { global, command }) => online(cli::Command::Document(command), &global),
        Command::Status(OnlineStatus { global, status }) => online(cli::Command::Status(status), &global),
        Command::Quarantine(OnlineQuarantine { global, quarantine }) => {
            online(cli::Command::Quarantine(quarantine), &global)
        }
        Command::Scrub(OnlineScrub { global, scrub }) => online(cli::Command::Scrub(scrub), &global),
        Command::Move(Online { global, command }) => online(cli::Command::Move(command), &global),
        Command::Person(Online { global, command }) => online(cli::Command::Person(command), &global),
        Command::Linkage(command) => linkage::run(&command),
        Command::Demo(command) => demo::run(&command),
    }
}

fn online(command: cli::Command, global: &cli::Global) -> ExitCode {
    cli::run(command, global, Arc::new(seams::SystemClock))
}
