//! What the two ends of a carrier sign, so that neither can be played against another.
//!
//! Both transcripts begin with a domain string and hold length-prefixed fields, so no two
//! different sets of fields give the same bytes. The signatures themselves (Ed25519) are made and
//! checked by the `tunnel` crate.

/// What the agent signs: its hello, bound to the server's nonce and to the name it dialled.
#[must_use]
pub fn agent(nonce: &[u8], server_name: &str, hello: &[u8]) -> Vec<u8> {
    build(
        b"lariat.v1 agent hello",
        &[nonce, server_name.as_bytes(), hello],
    )
}

/// What the server signs: its welcome, bound to the hello that it answers (which holds the
/// agent's nonce).
#[must_use]
pub fn server(hello: &[u8], welcome: &[u8]) -> Vec<u8> {
    build(b"lariat.v1 server welcome", &[hello, welcome])
}

fn build(domain: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let len = fields.iter().map(|field| 8 + field.len()).sum::<usize>();
    let mut out = Vec::with_capacity(8 + domain.len() + len);
    for field in std::iter::once(&domain).chain(fields) {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_between_fields_changes_the_transcript() {
        assert_ne!(agent(b"ab", "c", b"d"), agent(b"a", "bc", b"d"));
        assert_ne!(server(b"ab", b"c"), server(b"a", b"bc"));
    }

    #[test]
    fn golden_bytes() {
        let expected = [
            &[0, 0, 0, 0, 0, 0, 0, 21][..],
            b"lariat.v1 agent hello",
            &[0, 0, 0, 0, 0, 0, 0, 1],
            b"n",
            &[0, 0, 0, 0, 0, 0, 0, 1],
            b"s",
            &[0, 0, 0, 0, 0, 0, 0, 2],
            b"{}",
        ]
        .concat();
        assert_eq!(agent(b"n", "s", b"{}"), expected);
    }
}
