//! Generates services and messages from `proto/`; the record messages are `model`'s. `protoc` is not needed.
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = PathBuf::from("../../proto");
    println!("cargo:rerun-if-changed={}", proto.display());
    let names = ["common", "patient", "document", "node", "feed", "linkage", "record"];
    let files = protox::compile(names.map(|name| format!("tiermesh/v1/{name}.proto")), [&proto])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    let record_types = [
        ("Record", "RawRecord"),
        ("RecordList", "RecordList"),
        ("Flow", "Flow"),
        ("Kind", "Kind"),
        ("Registration", "Registration"),
        ("Identifier", "Identifier"),
        ("Address", "Address"),
        ("Contact", "Contact"),
        ("DocumentEntry", "DocumentEntry"),
        ("Availability", "Availability"),
        ("EpochEntry", "EpochEntry"),
        ("PersonLink", "PersonLink"),
        ("LinkDecision", "LinkDecision"),
        ("PastDecision", "PastDecision"),
    ];
    let mut builder = tonic_prost_build::configure().build_transport(false);
    for (message, ours) in record_types {
        builder = builder.extern_path(format!(".tiermesh.v1.{message}"), format!("::model::body::{ours}"));
    }
    builder.compile_fds_with_config(files, config)?;
    Ok(())
}
