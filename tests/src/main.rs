//! The binary `tiermesh` for the tests of this package.

fn main() -> std::process::ExitCode {
    node::main()
}
