//! What the directories of the testbed have in common: who is in them, and how they are asked.

pub mod ldap;
pub(crate) mod ldif;

pub use ldap::{Answer, Credentials, LdapClient};

/// A person.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// What one types to log in: `uid`, or `sAMAccountName`.
    pub name: &'a str,
    /// The name that is shown: `displayName`.
    pub full_name: &'a str,
    /// The password.
    pub password: &'a str,
}

/// A group and who is in it.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Its `cn`.
    pub name: &'a str,
    /// Its members, which come before it in [`Contents`].
    pub members: &'a [Member<'a>],
}

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// A person, by its name.
    Person(&'a str),
    /// Another group, by its name, with all who are in it.
    Group(&'a str),
}

/// Who is in a directory when it starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents<'a> {
    /// The people.
    pub people: &'a [Person<'a>],
    /// The groups; one that is in another comes before it.
    pub groups: &'a [Group<'a>],
}
