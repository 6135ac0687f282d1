//! Changes to a directory as text (RFC 2849). Values are written in base64, so that any may come.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};

/// Entries to add and changes to make, in order.
#[derive(Debug, Default)]
pub(crate) struct Ldif {
    text: String,
}

impl Ldif {
    /// An entry that is new.
    pub(crate) fn add(mut self, dn: &str, attributes: &[(&str, &[u8])]) -> Self {
        self.line("dn", dn.as_bytes());
        self.text.push_str("changetype: add\n");
        for (name, value) in attributes {
            self.line(name, value);
        }
        self.text.push('\n');
        self
    }

    /// An entry that goes.
    pub(crate) fn delete(mut self, dn: &str) -> Self {
        self.line("dn", dn.as_bytes());
        self.text.push_str("changetype: delete\n\n");
        self
    }

    /// A value that comes to those that an attribute has.
    pub(crate) fn add_value(self, dn: &str, attribute: &str, value: &[u8]) -> Self {
        self.modify(dn, "add", attribute, Some(value))
    }

    /// A value that an attribute has no longer.
    pub(crate) fn delete_value(self, dn: &str, attribute: &str, value: &[u8]) -> Self {
        self.modify(dn, "delete", attribute, Some(value))
    }

    /// The one value that an attribute has from then on, or that it has none.
    pub(crate) fn replace(self, dn: &str, attribute: &str, value: Option<&[u8]>) -> Self {
        self.modify(dn, "replace", attribute, value)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn modify(mut self, dn: &str, how: &str, attribute: &str, value: Option<&[u8]>) -> Self {
        self.line("dn", dn.as_bytes());
        let _ = write!(self.text, "changetype: modify\n{how}: {attribute}\n");
        if let Some(value) = value {
            self.line(attribute, value);
        }
        self.text.push_str("-\n\n");
        self
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        let _ = writeln!(self.text, "{name}:: {}", BASE64_STANDARD.encode(value));
    }
}

/// A value as it stands in a distinguished name (RFC 4514, section 2.4).
pub(crate) fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (place, character) in value.chars().enumerate() {
        let is_at_edge = place == 0 || place == last;
        if matches!(
            character,
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#'
        ) || (character == ' ' && is_at_edge)
        {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_written_as_the_rfc_says() {
        let ldif = Ldif::default()
            .replace("cn=a", "pwdReset", Some(b"TRUE"))
            .replace("cn=a", "pwdReset", None)
            .delete("cn=a");
        assert_eq!(
            ldif.as_str(),
            "dn:: Y249YQ==\nchangetype: modify\nreplace: pwdReset\npwdReset:: VFJVRQ==\n-\n\n\
             dn:: Y249YQ==\nchangetype: modify\nreplace: pwdReset\n-\n\n\
             dn:: Y249YQ==\nchangetype: delete\n\n"
        );
    }

    #[test]
    fn what_means_something_in_a_name_is_escaped() {
        assert_eq!(escape("Miller, Ann"), "Miller\\, Ann");
        assert_eq!(escape(" a#b "), "\\ a\\#b\\ ");
        assert_eq!(escape("Zoë"), "Zoë");
    }
}
