//! Where objects are in the store: `/registry/GROUP/PLURAL/[NAMESPACE/]NAME`, `core` standing for
//! the group without a name.

/// What all of them begin with.
pub const ROOT: &str = "/registry/";

/// The prefix of all objects of a resource.
#[must_use]
pub fn resource(group: &str, plural: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("{ROOT}{group}/{plural}/")
}

/// The prefix that a key has, if it is one of an object.
#[must_use]
pub fn resource_of(key: &[u8]) -> Option<&str> {
    let key = std::str::from_utf8(key).ok()?;
    let rest = key.strip_prefix(ROOT)?;
    let group = rest.find('/')?;
    let plural = rest.get(group + 1..)?.find('/')?;
    key.get(..ROOT.len() + group + 1 + plural + 1)
}

/// Group and plural of the prefix of a resource.
#[must_use]
pub fn group_and_plural(prefix: &str) -> Option<(&str, &str)> {
    let (group, plural) = prefix.strip_prefix(ROOT)?.split_once('/')?;
    let group = if group == "core" { "" } else { group };
    Some((group, plural.strip_suffix('/')?))
}

/// The key of an object below the prefix of its resource. `namespace` is empty for kinds without.
#[must_use]
pub fn below(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    }
}

/// Namespace and name of a key below the prefix of its resource.
#[must_use]
pub fn split(below: &str) -> (&str, &str) {
    below.split_once('/').unwrap_or(("", below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart_as_they_were_made() {
        let prefix = resource("", "secrets");
        assert_eq!(prefix, "/registry/core/secrets/");
        let key = prefix.clone() + &below("default", "a");
        assert_eq!(resource_of(key.as_bytes()), Some(prefix.as_str()));
        assert_eq!(group_and_plural(&prefix), Some(("", "secrets")));
        assert_eq!(split(&key[prefix.len()..]), ("default", "a"));
        assert_eq!(split(&below("", "a")), ("", "a"));
        for other in ["/registry/core/", "/registry", "/other/a/b/c"] {
            assert_eq!(resource_of(other.as_bytes()), None, "{other}");
        }
    }
}
