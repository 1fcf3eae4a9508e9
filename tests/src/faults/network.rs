//! A network namespace for a node, with two ways in: a line that the kernel makes thin, and one at full speed for the test itself.

use std::path::PathBuf;
use std::process::Command;

/// A namespace with its interfaces; gone when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// This side's end of the thin line.
    line: String,
    subnet: String,
}

impl Namespace {
    /// None where there is no root, or the kernel lacks namespaces, veth or tbf.
    pub fn make() -> Option<Self> {
        let id = std::process::id();
        let (name, line, side) = (format!("tm{id}"), format!("tml{id}"), format!("tms{id}"));
        let made = Self { name: name.clone(), line: line.clone(), subnet: format!("10.203.{}", id % 250) };
        let (inner_line, inner_side) = (made.inner_line(), format!("{side}i"));
        let address = |last: u8| format!("{}.{last}/30", made.subnet);
        let steps: [&[&str]; 13] = [
            &["ip", "netns", "add", &name],
            &["ip", "link", "add", &line, "type", "veth", "peer", "name", &inner_line, "netns", &name],
            &["ip", "link", "add", &side, "type", "veth", "peer", "name", &inner_side, "netns", &name],
            &["ip", "address", "add", &address(1), "dev", &line],
            &["ip", "address", "add", &address(5), "dev", &side],
            &["ip", "-n", &name, "address", "add", &address(2), "dev", &inner_line],
            &["ip", "-n", &name, "address", "add", &address(6), "dev", &inner_side],
            &["ip", "link", "set", &line, "up"],
            &["ip", "link", "set", &side, "up"],
            &["ip", "-n", &name, "link", "set", "lo", "up"],
            &["ip", "-n", &name, "link", "set", &inner_line, "up"],
            &["ip", "-n", &name, "link", "set", &inner_side, "up"],
            // Whether the kernel has it: replaced when the line becomes thin.
            &[
                "tc", "qdisc", "add", "dev", &line, "root", "tbf", "rate", "1gbit", "burst", "1mb",
                "latency", "50ms",
            ],
        ];
        steps.iter().all(|step| run(step)).then_some(made)
    }

    fn inner_line(&self) -> String {
        format!("{}i", self.line)
    }

    /// Where the parent listens.
    pub fn parent_address(&self) -> String {
        format!("{}.1:0", self.subnet)
    }

    /// Where the child listens, for the test; its parent is not reached this way.
    pub fn child_address(&self) -> String {
        format!("{}.6:0", self.subnet)
    }

    /// Words before a command that is to run inside.
    pub fn under(&self) -> String {
        format!("ip netns exec {}", self.name)
    }

    /// So many bits a second each way, by a token bucket whose queue holds 400 ms.
    pub fn thin(&self, bits: u64) {
        let (rate, inner) = (format!("{bits}bit"), self.inner_line());
        let bucket = ["root", "tbf", "rate", &rate, "burst", "16kb", "latency", "400ms"];
        let outside: Vec<&str> =
            ["tc", "qdisc", "replace", "dev", &self.line].into_iter().chain(bucket).collect();
        let inside: Vec<&str> =
            ["tc", "-n", &self.name, "qdisc", "replace", "dev", &inner].into_iter().chain(bucket).collect();
        assert!(run(&outside) && run(&inside), "the line becomes thin");
    }

    /// Pulls the cable, or puts it in again.
    pub fn plug(&self, plugged: bool) {
        assert!(run(&["ip", "link", "set", &self.line, if plugged { "up" } else { "down" }]));
    }

    /// Bytes that came up the line so far, with their headers.
    pub fn bytes_up(&self) -> u64 {
        let file: PathBuf = ["/sys/class/net", &self.line, "statistics/rx_bytes"].iter().collect();
        std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).expect("a count")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is inside goes with its other end.
        run(&["ip", "netns", "delete", &self.name]);
        run(&["ip", "link", "delete", &self.line]);
    }
}

fn run(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
}
