//! Where a write must be durable before its caller is answered: here, or at the parent as well.

use std::time::Duration;

use model::{RecordKey, Version};
use replication::Confirmation;
use tokio::time::Instant;

use crate::{Deadline, Exchange, ExchangeError};

/// Kept of a call's time for the answer itself.
const FOR_THE_ANSWER: Duration = Duration::from_millis(250);

/// The level of an acknowledgement (design.md, *Feeds*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// Durable on this node's disk.
    #[default]
    Local,
    /// The parent has durably applied this version or a later one, and not quarantined it.
    Parent,
}

/// Where a write is known to be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durable {
    Here,
    /// Asked for above and not known to be there, and why: durable here, not yet above.
    HereOnly(String),
    AtParent,
}

impl Exchange {
    /// The level for a call that asks for this one. Refused at a root before anything is written: it has no parent.
    pub(crate) fn level(&self, asked: Option<Acknowledge>) -> Result<Acknowledge, ExchangeError> {
        let level = asked.unwrap_or(self.parts.acknowledge);
        if level == Acknowledge::Parent && self.parts.confirmations.is_none() {
            return Err(ExchangeError::conflict(
                "NO_PARENT",
                "this node is the root: a write cannot be acknowledged by its parent; ask for durability here",
            ));
        }
        Ok(level)
    }

    /// Waits for a level that [`Exchange::level`] gave, at most until shortly before the deadline.
    pub(crate) async fn durable(
        &self,
        level: Acknowledge,
        key: RecordKey,
        version: Version,
        deadline: Deadline,
    ) -> Result<Durable, ExchangeError> {
        let (Acknowledge::Parent, Some(confirmations)) = (level, &self.parts.confirmations) else {
            return Ok(Durable::Here);
        };
        let left = deadline.remaining();
        let until = Instant::now() + left.saturating_sub(FOR_THE_ANSWER.min(left / 2));
        // A version that was superseded before it was shipped is never shipped: the later one is waited for.
        let mut waited_for = None;
        loop {
            let Some(lsn) = self.parts.store.lsn(&key)? else {
                return Err(ExchangeError::internal("a record that was committed is not held"));
            };
            if waited_for == Some(lsn) {
                return Ok(Durable::AtParent);
            }
            match confirmations.of(lsn, key, version, until).await {
                Confirmation::AtParent => waited_for = Some(lsn),
                Confirmation::Quarantined(reason) => {
                    return Ok(Durable::HereOnly(format!("the parent keeps it in quarantine: {reason}")));
                }
                Confirmation::NotYet(why) => return Ok(Durable::HereOnly(why.to_owned())),
            }
        }
    }
}
