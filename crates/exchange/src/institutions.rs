//! Which institutions file with a node, and which left it and are not through: what emptying a node begins and ends with.

use std::collections::BTreeMap;

use model::NodePath;

use crate::caller::{Action, Caller, permit};
use crate::{Exchange, ExchangeError};

/// Most institutions of one answer.
pub const MAX_INSTITUTIONS: usize = 500;

/// An institution of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstitutionAt {
    pub code: String,
    pub name: String,
    /// Its latest term.
    pub term: u32,
    /// It files elsewhere by now, and as far as is known here the node has not ended its own term.
    pub leaving: bool,
}

/// A page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Institutions {
    /// By code, at most [`MAX_INSTITUTIONS`].
    pub institutions: Vec<InstitutionAt>,
    /// There are more: ask again after the last.
    pub more: bool,
}

impl Exchange {
    /// The institutions after this code that file with the node at `writer`, and those that left it and are not through.
    pub fn institutions(
        &self,
        caller: &Caller,
        writer: &NodePath,
        after: &str,
    ) -> Result<Institutions, ExchangeError> {
        let _permit = permit(caller, Action::Operate, &self.parts.node.path)?;
        let view = self.parts.directory.snapshot();
        let node = view
            .origin_at(writer)
            .ok_or_else(|| ExchangeError::not_found("UNKNOWN_NODE", format!("{writer} is not known here")))?;
        let at = |fact: &replication::InstitutionFact| {
            let files = fact.writer == node;
            let leaving = !files
                && view.awaited(&fact.origin).is_some_and(|awaited| awaited.writer.as_ref() == Some(writer));
            let (code, name, term) = (fact.code.clone(), fact.name.clone(), fact.term);
            (files || leaving).then_some(InstitutionAt { code, name, term, leaving })
        };
        // The directory has them by origin, which is no order that a person or a page can use.
        let by_code: BTreeMap<String, InstitutionAt> = view
            .institutions()
            .filter(|fact| fact.code.as_str() > after)
            .filter_map(at)
            .map(|found| (found.code.clone(), found))
            .collect();
        let more = by_code.len() > MAX_INSTITUTIONS;
        Ok(Institutions { institutions: by_code.into_values().take(MAX_INSTITUTIONS).collect(), more })
    }
}
