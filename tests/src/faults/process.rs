//! Signals to nodes, and the tools that faults need.

use std::process::Command;

use demo::tree::LocalTree;
use model::NodePath;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Stops a node where it stands (SIGSTOP): its connections stay open and nobody answers on them.
pub fn freeze(tree: &LocalTree, path: &NodePath) {
    signal(tree, path, Signal::SIGSTOP);
}

/// Lets a frozen node go on (SIGCONT).
pub fn thaw(tree: &LocalTree, path: &NodePath) {
    signal(tree, path, Signal::SIGCONT);
}

fn signal(tree: &LocalTree, path: &NodePath, signal: Signal) {
    let pid = tree.process_id(path).and_then(|pid| i32::try_from(pid).ok()).expect("the node runs");
    kill(Pid::from_raw(pid), signal).expect("a signal to our own child");
}

/// Whether strace is here and may inject errors.
pub fn has_strace() -> bool {
    let inject = [
        "-f",
        "-D",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=fdatasync:error=EIO:when=1",
        "true",
    ];
    Command::new("strace").args(inject).output().is_ok_and(|output| output.status.success())
}
