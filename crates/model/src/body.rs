//! Bodies of the kinds known today: the generated messages of `proto/tiermesh/v1/record.proto`.
//!
//! Types that hold personal data print `"..."`, so a log line with `{:?}` cannot leak a patient.

use std::fmt;

mod generated {
    #![allow(clippy::all, clippy::pedantic, missing_debug_implementations)]
    include!(concat!(env!("OUT_DIR"), "/tiermesh.v1.rs"));
}

/// The wire form of [`crate::Record`].
pub use generated::Record as RawRecord;
pub use generated::{
    Address, Availability, Contact, DocumentEntry, EpochEntry, FieldWeight, Flow, Header, Identifier,
    InstitutionEntry, Kind, LinkBasis, LinkDecision, LinkLayer, NodeEntry, PastDecision, PersonLink,
    RecordList, Registration, RegistrationRef, SigningKeyEntry, SuccessionEntry, TermEndEntry,
};

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(\"...\")"))
            }
        }
    )*};
}
redacted!(Registration, Identifier, Address, Contact, DocumentEntry, PersonLink, PastDecision, RawRecord);
