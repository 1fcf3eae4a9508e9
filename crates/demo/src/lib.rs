//! Synthetic population, a local tree of child processes, loads: behind `tiermesh demo`, `synth` and `bench`.
//!
//! Knows nodes only from outside: it starts the executable it is given and talks the public protocol. Not for production.

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
}

/// Runs a command. Nodes are child processes of the executable that this is.
pub fn run(command: &Command) -> ExitCode {
    let ended = match command {
        Command::Demo(demo) => with_runtime(|executable| async move { show::run(demo, executable).await.map(|_| ()).map_err(|error| error.to_string()) }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tiermesh: {error}");
            ExitCode::from(cli::Exit::Unexpected as u8)
        }
    }
}

fn with_runtime<F: Future<Output = Result<(), String>>>(work: impl FnOnce(PathBuf) -> F) -> Result<(), String> {
    let executable = std::env::current_exe().map_err(|error| format!("this executable cannot be found: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(work(executable))
}
