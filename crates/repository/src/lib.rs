//! Document content, addressed by its SHA-256, on a local file system through `object_store`.
//!
//! ```text
//! <dir>/lock                 held while a repository is open, so that two never clean up after each other
//! <dir>/incoming/<n>         content on its way in; removed by the next open
//! <dir>/content/ab/cd/<sha>  content, named by its hash in 64 hexadecimal digits
//! ```
//!
//! [`Repository::begin`] takes the expected size and hash, [`Upload::write`] the pieces, and when [`Upload::finish`]
//! returns, the content is durable under its hash: it was checked, then `fsync`ed, then renamed into its folder, then the
//! folder and the folders above it were `fsync`ed. Until then nothing can be read, and whatever goes wrong leaves nothing.
//!
//! What `object_store` 0.14 covers with `with_fsync(true)` (read in its source): the file before it is renamed, both
//! folders of a rename, and folders that a call itself creates, up to the first that existed. It does not cover deletes, nor
//! a folder made by an earlier call that died between making and syncing it. Both are done here, see `disk.rs` and
//! [`Repository::delete`].
//!
//! What it does not do: it knows no patients, documents or permissions, does not decide what is garbage (a caller lists,
//! spares what is young or referenced, and deletes), does not encrypt, and does not bound the number of uploads, each of
//! which holds at most [`CHUNK`] bytes and the piece just written in memory.

mod content_id;
mod counter;
mod disk;
mod error;
mod read;
mod repository;
#[cfg(test)]
mod tests;
mod upload;

pub use content_id::{ContentIdError, Sha256Bytes, parse_content_id};
pub use error::RepositoryError;
pub use read::ContentStream;
pub use repository::{ContentLimits, ListedContent, Repository, RepositoryStatus};
pub use upload::{Stored, Upload};

/// Bytes read and written in one step.
pub const CHUNK: usize = 256 * 1024;
