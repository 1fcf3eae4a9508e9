//! What is written, in the form in which it is compared: names, identifiers, telephone numbers, addresses.
//!
//! Nothing here fails: what cannot be read is absent, since a registration has passed validation long before. Every form
//! has a bounded size whatever was written.

pub mod address;
pub mod characters;
pub mod identifier;
pub mod name;
pub mod phone;

pub use address::Address;
pub use identifier::{Belongs, Identifier, ResidentNumber};
pub use name::{Name, NameKind};
