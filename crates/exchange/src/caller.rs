//! Who calls, and what their role may do.
//!
//! Permission is a value: [`permit`] returns a [`Permit`] and the use cases that touch data ask for one. The table here knows
//! roles only; purposes, consent and confidentiality are the policy issue's, behind the same function.

use model::NodePath;

use crate::ExchangeError;

/// Who calls, from the verified certificate of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Path of the node that issued the certificate (for a node: its own path).
    pub path: NodePath,
    pub role: Role,
}

/// What the caller's certificate says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A hospital or other institution, by its code.
    Institution {
        code: String,
    },
    Operator {
        name: String,
    },
    Auditor {
        name: String,
    },
    Service {
        name: String,
    },
    /// Another node of the mesh.
    Node,
}

impl Role {
    /// The role's name in the protocol and in certificates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Institution { .. } => "institution",
            Self::Operator { .. } => "operator",
            Self::Auditor { .. } => "auditor",
            Self::Service { .. } => "service",
            Self::Node => "node",
        }
    }
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Register patients, submit and change documents: for an institution enrolled with this node.
    File,
    /// Find patients and documents.
    Find,
    /// Fetch a document's content.
    Retrieve,
    /// See the node's status.
    Status,
    /// Give a neighbour back what its log has lost.
    Mend,
    /// Start the node's own upkeep.
    Operate,
    /// Look at pairs of registrations that wait for a human, and decide about them.
    Review,
}

/// That a caller may do an action. Made by [`permit`] only.
#[derive(Debug)]
pub struct Permit(());

/// Asks whether `caller` may do `action` at the node `own`.
pub fn permit(caller: &Caller, action: Action, own: &NodePath) -> Result<Permit, ExchangeError> {
    let role = &caller.role;
    let allowed = match action {
        Action::File => matches!(role, Role::Institution { .. }),
        Action::Find | Action::Retrieve => matches!(role, Role::Institution { .. } | Role::Node),
        Action::Status => !matches!(role, Role::Auditor { .. }),
        Action::Mend => matches!(role, Role::Node),
        Action::Operate | Action::Review => matches!(role, Role::Operator { .. }),
    };
    if !allowed {
        return Err(ExchangeError::denied("WRONG_ROLE", format!("the role {} may not do this", role.name())));
    }
    match role {
        Role::Node => {
            if own.is_parent_of(&caller.path) || caller.path.is_parent_of(own) || *own == caller.path {
                return Ok(Permit(()));
            }
            Err(ExchangeError::denied(
                "NOT_A_NEIGHBOUR",
                format!("{} is neither parent nor child here", caller.path),
            ))
        }
        _ if caller.path == *own => Ok(Permit(())),
        _ => Err(ExchangeError::denied(
            "WRONG_NODE",
            format!("this certificate was issued by {}; connect to that node, this is {own}", caller.path),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NodePath {
        text.parse().unwrap()
    }

    fn institution() -> Role {
        Role::Institution { code: "X".into() }
    }

    #[test]
    fn who_may_what() {
        let own = path("530000/532900");
        let at = |role: &Role, path: &NodePath, action| {
            permit(&Caller { path: path.clone(), role: role.clone() }, action, &own)
                .map_err(|error| error.reason().to_owned())
        };
        let operator = Role::Operator { name: "li".into() };
        let auditor = Role::Auditor { name: "wu".into() };
        assert!(at(&institution(), &own, Action::File).is_ok());
        assert_eq!(at(&operator, &own, Action::File).unwrap_err(), "WRONG_ROLE");
        assert_eq!(at(&operator, &own, Action::Find).unwrap_err(), "WRONG_ROLE");
        assert_eq!(at(&operator, &own, Action::Retrieve).unwrap_err(), "WRONG_ROLE");
        assert_eq!(at(&auditor, &own, Action::Find).unwrap_err(), "WRONG_ROLE");
        assert_eq!(at(&institution(), &path("530000/530100"), Action::File).unwrap_err(), "WRONG_NODE");
        assert!(at(&Role::Node, &path("530000"), Action::Find).is_ok());
        assert!(at(&Role::Node, &path("530000/532900/532901"), Action::Find).is_ok());
        assert_eq!(at(&Role::Node, &path("530000/530100"), Action::Find).unwrap_err(), "NOT_A_NEIGHBOUR");
        assert_eq!(at(&Role::Node, &own, Action::File).unwrap_err(), "WRONG_ROLE");
        assert!(at(&Role::Node, &path("530000"), Action::Mend).is_ok());
        assert_eq!(at(&operator, &own, Action::Mend).unwrap_err(), "WRONG_ROLE");
        assert!(at(&operator, &own, Action::Operate).is_ok());
        assert_eq!(at(&institution(), &own, Action::Operate).unwrap_err(), "WRONG_ROLE");
        assert_eq!(at(&Role::Node, &path("530000"), Action::Operate).unwrap_err(), "WRONG_ROLE");
    }
}
