//! Which records go to the parent.

use model::{Envelope, Flow};

/// Whether a record of this flow class goes up (design.md, *Records*). Today all do, each for its own reason.
pub fn flows_up(envelope: &Envelope) -> bool {
    goes_up(envelope.known_flow())
}

/// The same by the number of the class; a class of a later release goes up only.
pub(crate) fn class_goes_up(flow: u32) -> bool {
    goes_up(known(flow))
}

/// The class with this number, if this release knows it.
pub(crate) fn known(flow: u32) -> Option<Flow> {
    i32::try_from(flow).ok().and_then(|flow| Flow::try_from(flow).ok())
}

fn goes_up(flow: Option<Flow>) -> bool {
    match flow {
        Some(
            // To every ancestor.
            Flow::Registration | Flow::Link | Flow::DocumentEntry | Flow::Consent
            // To the root, which sends them down to every node.
            | Flow::Directory | Flow::CodeSystem | Flow::Policy | Flow::Catalogue | Flow::Revocation
            // To the root, which adds them up.
            | Flow::Counter
            // Through the lowest common ancestor; the envelope names no addressee yet, so to the root.
            | Flow::Message
            // As sealed copies.
            | Flow::Audit
            | Flow::Unspecified,
        )
        // A class of a later release goes up only.
        | None => true,
    }
}
