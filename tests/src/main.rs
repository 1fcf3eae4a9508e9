//! The binary `tiermesh` for the tests of this package, which can also be one of another release.

use std::process::ExitCode;

/// Versions of the feed's protocol that this node speaks, such as `1,2`. The product knows no such variable.
const PROTOCOLS: &str = "TIERMESH_TEST_PROTOCOLS";

fn main() -> ExitCode {
    let Ok(versions) = std::env::var(PROTOCOLS) else { return node::main() };
    match versions.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>() {
        Ok(versions) => node::main_of_release(&versions),
        Err(error) => {
            eprintln!("{PROTOCOLS}: {error}");
            ExitCode::FAILURE
        }
    }
}
