//! Paths of fields, as messages show them. However deep a field is and however long the names on the
//! way to it, its path stays short: it is made for every field that is looked at.

/// Longest path, in bytes, that still grows.
const LONGEST: usize = 1024;

/// Longest part of a name that is shown, in bytes.
const LONGEST_NAME: usize = 320;

/// The path of the field `name` of the object at `path`.
#[must_use]
pub fn child(path: &str, name: &str) -> String {
    match path {
        "" => shown(name).to_owned(),
        _ => grown(path, &[".", shown(name)]),
    }
}

/// The path of the entry `key` of the map at `path`.
#[must_use]
pub fn key(path: &str, key: &str) -> String {
    grown(path, &["[", shown(key), "]"])
}

/// The path of an item of the list at `path`.
#[must_use]
pub fn index(path: &str, index: usize) -> String {
    grown(path, &["[", &index.to_string(), "]"])
}

/// The path of what is at `below` in the value at `path`.
#[must_use]
pub fn joined(path: &str, below: &str) -> String {
    match below.starts_with('[') || path.is_empty() {
        true => grown(path, &[below]),
        false => grown(path, &[".", below]),
    }
}

/// The same for the field of an object that is not at the root, or where the root is shown as a dot.
pub(super) fn dotted(path: &str, name: &str) -> String {
    grown(path, &[".", shown(name)])
}

fn grown(path: &str, parts: &[&str]) -> String {
    if path.len() >= LONGEST {
        return path.to_owned();
    }
    let mut grown =
        String::with_capacity(path.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    grown.push_str(path);
    parts.iter().for_each(|part| grown.push_str(part));
    grown
}

fn shown(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_short() {
        assert_eq!(child("", "a"), "a");
        assert_eq!(key(&index(&child("a", "b"), 1), "k"), "a.b[1][k]");
        assert_eq!(joined("a", "b[0]"), "a.b[0]");
        assert_eq!(joined("a", "[0].b"), "a[0].b");
        let long = "ü".repeat(100_000);
        let mut path = String::new();
        for _ in 0..1000 {
            path = key(&child(&path, &long), &long);
        }
        assert!(
            path.len() < LONGEST + 2 * LONGEST_NAME + 10,
            "{}",
            path.len()
        );
    }
}
