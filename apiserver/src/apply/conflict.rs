//! An apply that would change what others own.

use std::fmt;

use super::go_text;
use super::managers::{ManagerId, Operation};
use super::path::Path;

/// A field that someone else owns and that an apply would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: ManagerId,
    /// The field.
    pub path: Path,
}

impl Conflict {
    /// The message of the cause in the answer, whose field is the path:
    /// `conflict with "kubectl-client-side-apply" using apps/v1`.
    #[must_use]
    pub fn message(&self) -> String {
        format!("conflict with {}", printed(&self.manager))
    }
}

/// All conflicts of an apply, at least one, sorted by manager. Printed as the message of the
/// answer, which has status 409 and reason `Conflict`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    pub(super) fn new(mut conflicts: Vec<Conflict>) -> Self {
        conflicts.sort_by_key(|conflict| conflict.manager.sort_key());
        Self(conflicts)
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [conflict] = self.0.as_slice() {
            let (message, path) = (conflict.message(), &conflict.path);
            return write!(f, "Apply failed with 1 conflict: {message}: {path}");
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut last = None;
        for Conflict { manager, path } in &self.0 {
            if last != Some(manager) {
                let newline = if last.is_some() { "\n" } else { "" };
                write!(f, "{newline}conflicts with {}:", printed(manager))?;
                last = Some(manager);
            }
            write!(f, "\n- {path}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}

fn printed(manager: &ManagerId) -> String {
    let mut text = go_text::quoted(&manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(" with subresource ");
        text.push_str(&go_text::quoted(&manager.subresource));
    }
    if manager.operation == Operation::Update {
        text.push_str(" using ");
        text.push_str(manager.api_version.as_deref().unwrap_or(""));
    }
    text
}
