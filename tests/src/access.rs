//! Who may do what in a connected cluster: what the management API says, and what really happens there.

mod attempts;
mod audit;
mod deleted;
mod impersonation;
mod matrix;
mod objects;
mod projects;
mod roles;
mod world;

pub use world::World;

use crate::cases::Case;

/// All cases, in the order in which they run.
#[must_use]
pub fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    let mut cases = roles::cases();
    cases.extend(projects::cases());
    cases.extend(attempts::cases());
    cases.extend(audit::cases());
    cases.extend(impersonation::cases());
    cases.extend(deleted::cases());
    cases.extend(matrix::cases());
    cases
}
