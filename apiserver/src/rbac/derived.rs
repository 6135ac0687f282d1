//! Roles and bindings that are derived from objects of other kinds.

use super::Rule;
use crate::serve::{Attributes, User};
use std::fmt::{Debug, Display};
use std::ops::ControlFlow;

/// Stands for the name of any object where it is asked what somebody is given. No object has it.
pub const ANY_NAME: &str = "*";

/// Is shown rules that somebody is given, and by what, in the words of a reason: `WhatBinding "name" of
/// WhatRole "name" to User "name"`.
pub type Found<'a> = dyn FnMut(&[Rule], &dyn Display) -> ControlFlow<()> + 'a;

/// Knows what users are given besides the roles and bindings of the store.
pub trait Derived: Send + Sync + Debug {
    /// Shows what a user is given everywhere, and in a namespace unless that is empty, until `found`
    /// breaks. Rules that cannot allow what is `asked` may be left out; if nothing is, none may. The name
    /// [`ANY_NAME`] stands for those of all objects.
    fn grants(
        &self,
        user: &User,
        namespace: &str,
        asked: Option<&Attributes<'_>>,
        found: &mut Found<'_>,
    );

    /// The namespaces in which a user may be given something.
    fn namespaces(&self, user: &User) -> Vec<String>;
}

/// Gives nobody anything.
#[derive(Clone, Copy, Debug)]
pub struct NothingDerived;

impl Derived for NothingDerived {
    fn grants(&self, _: &User, _: &str, _: Option<&Attributes<'_>>, _: &mut Found<'_>) {}

    fn namespaces(&self, _: &User) -> Vec<String> {
        Vec::new()
    }
}
