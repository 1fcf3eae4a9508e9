//! Synthetic population, a local tree of child processes, loads: behind `tiermesh demo`, `synth` and `bench`.
//!
//! Knows nodes only from outside: it starts the executable it is given and talks the public protocol. Not for production.

mod agree;
pub mod bench;
mod case;
mod endure;
pub mod load;
pub mod show;
pub mod synth;
pub mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

/// Commands for trying and measuring.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Demo(show::Demo),
    Synth(Synth),
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Writes a population of invented persons: registrations.csv, truth.csv, meta.json.
#[derive(Debug, clap::Args)]
pub struct Synth {
    /// Invented persons, who register 2.5 times on average.
    #[arg(long, default_value_t = 20_000)]
    persons: u64,
    /// The same seed makes the same files.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Scales the rates of all flaws, 0 to 5.
    #[arg(long, default_value_t = 1.0)]
    noise: f64,
    #[arg(long)]
    out: PathBuf,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs a command. Nodes are child processes of the executable that this is.
pub fn run(command: &Command) -> ExitCode {
    let ended = match command {
        Command::Demo(demo) => with_runtime(|executable| async move {
            show::run(demo, executable).await.map_err(|error| error.to_string())
        }),
        Command::Synth(args) => synthesise(args).map_err(|error| error.to_string()),
        Command::Bench(bench) => with_runtime(|executable| async move {
            bench::run(bench, executable).await.map_err(|error| error.to_string())
        }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tiermesh: {error}");
            ExitCode::from(cli::Exit::Unexpected as u8)
        }
    }
}

fn synthesise(args: &Synth) -> Result<(), synth::SynthError> {
    let options = synth::Options { noise: args.noise, ..synth::Options::new(args.persons, args.seed) };
    let bar = indicatif::ProgressBar::new_spinner();
    let mut written = 0;
    synth::write(&args.out, &synth::Tree::yunnan(), &options, |done| {
        written = done;
        bar.set_message(format!("{done} registrations"));
    })?;
    bar.finish_and_clear();
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "persons": args.persons, "registrations": written, "out": args.out })
        );
    } else {
        println!("{written} registrations of {} invented persons in {}", args.persons, args.out.display());
    }
    Ok(())
}

fn with_runtime<F: Future<Output = Result<(), String>>>(
    work: impl FnOnce(PathBuf) -> F,
) -> Result<(), String> {
    let executable =
        std::env::current_exe().map_err(|error| format!("this executable cannot be found: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(work(executable))
}
