//! Generates the record messages from the public protocol files; `protoc` is not needed.
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = PathBuf::from("../../proto");
    println!("cargo:rerun-if-changed={}", proto.display());
    let files = protox::compile(["tiermesh/v1/record.proto"], [&proto])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // Bodies hold personal data: their Debug is written by hand.
    config.skip_debug([
        "tiermesh.v1.Record",
        "tiermesh.v1.Registration",
        "tiermesh.v1.Identifier",
        "tiermesh.v1.Address",
        "tiermesh.v1.Contact",
        "tiermesh.v1.DocumentEntry",
        "tiermesh.v1.PersonLink",
        "tiermesh.v1.PastDecision",
    ]);
    config.compile_fds(files)?;
    Ok(())
}
