//! Who calls: from the verified certificate of the connection, never from what a request says.

use std::sync::Arc;

use exchange::{Caller, Role};
use identity::{Name, Peer};
use tonic::{Request, Status};

use crate::error::denied;

/// One authenticated connection, as handlers see it in the extensions of their requests.
#[derive(Debug, Clone)]
pub struct Session {
    pub caller: Caller,
}

impl Session {
    /// None for a name that never calls: an authority.
    pub fn new(peer: &Peer) -> Option<Self> {
        let (path, role) = match &peer.name {
            Name::Authority(_) => return None,
            Name::Node(path) => (path, Role::Node),
            Name::Institution(path, code) => (path, Role::Institution { code: code.as_str().to_owned() }),
            Name::Operator(path, account) => (path, Role::Operator { name: account.as_str().to_owned() }),
            Name::Auditor(path, account) => (path, Role::Auditor { name: account.as_str().to_owned() }),
            Name::Service(path, account) => (path, Role::Service { name: account.as_str().to_owned() }),
        };
        Some(Self { caller: Caller { path: path.clone(), role } })
    }
}

/// The caller of a request.
pub(crate) fn identify<T>(request: &Request<T>) -> Result<Caller, Status> {
    match request.extensions().get::<Arc<Session>>() {
        Some(session) => Ok(session.caller.clone()),
        None => Err(denied("NO_IDENTITY", "the call did not come over an authenticated connection")),
    }
}
