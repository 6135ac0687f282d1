use proptest::prelude::*;

use super::*;

#[test]
fn each_format_takes_its_own() {
    let table: [(&str, &[&str], &[&str]); 26] = [
        (
            "date-time",
            &["2024-02-29T23:59:59Z", "2024-01-01t00:00:00.123+01:00"],
            &[
                "",
                "2024-01-01",
                "2024-01-01T24:00:00Z",
                "2023-02-29T00:00:00Z",
                "2024-01-01T00:00:00",
            ],
        ),
        (
            "date",
            &["2024-02-29", "0001-01-01"],
            &["2023-02-29", "2024-13-01", "20240101", "2024-1-01"],
        ),
        (
            "duration",
            &[
                "1h30m", "-1.5s", "0", "22 ns", "3 days", ".5s", "1us", "1µs",
            ],
            &["", "1", "h", "1x", "99999999999999999999s"],
        ),
        (
            "uuid",
            &[
                "123e4567-e89b-12d3-a456-426614174000",
                "123E4567E89B12D3A456426614174000",
            ],
            &[
                "",
                "123e4567-e89b-12d3-a456-42661417400",
                "123e4567-e89b-12d3-a456-4266141740000",
            ],
        ),
        (
            "uuid4",
            &["123e4567-e89b-42d3-a456-426614174000"],
            &["123e4567-e89b-12d3-a456-426614174000"],
        ),
        (
            "ipv4",
            &["1.2.3.4", "010.0.0.1", "::ffff:1.2.3.4"],
            &["1.2.3", "1.2.3.256", "::1", ""],
        ),
        (
            "ipv6",
            &["::1", "fe80::1", "::ffff:1.2.3.4"],
            &["1.2.3.4", "fe80::1%eth0", ""],
        ),
        (
            "cidr",
            &["10.0.0.0/8", "::/0", "010.0.0.0/08"],
            &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "/8"],
        ),
        (
            "byte",
            &["YQ==", "YWI=", "YWJj"],
            &["", "YQ", "YQ=", "Y===", "Y-Q="],
        ),
        (
            "email",
            &[
                "a@b",
                "Joe <joe@example.com>",
                "\"a b\"@c.d",
                "a.b@[127.0.0.1]",
            ],
            &["", "a", "@b", "a@", "a..b@c", "a b@c", "<a@b"],
        ),
        (
            "hostname",
            &[
                "a",
                "localhost",
                "example.com",
                "a-b.example.com",
                "1.example.com",
            ],
            &["", "-a", "a.b-", "a_b", "a.1", "a.b.", "a b"],
        ),
        (
            "uri",
            &[
                "http://a/b?c",
                "/path",
                "mailto:a@b",
                "http://[::1]:80/",
                "*",
            ],
            &[
                "",
                "a",
                "a/b",
                "http://a b/",
                "http://a:x/",
                "/%zz",
                ":a",
                "http://[::1/",
            ],
        ),
        (
            "mac",
            &["01:23:45:67:89:ab", "0123.4567.89ab"],
            &["01:23:45:67:89", "01-23:45:67:89:ab", ""],
        ),
        ("hexcolor", &["#fff", "a1B2c3"], &["#ffff", "ggg", ""]),
        (
            "rgbcolor",
            &["rgb(0, 128,255)"],
            &["rgb(256,0,0)", "rgb(1,2)"],
        ),
        ("ssn", &["123-45-6789"], &["123456789", "12-345-6789"]),
        ("isbn10", &["0321751043"], &["0321751044", "032175104"]),
        ("isbn13", &["978-0321751041"], &["978-0321751042"]),
        ("isbn", &["0321751043", "978-0321751041"], &["1"]),
        (
            "creditcard",
            &["4111-1111-1111-1111"],
            &["4111-1111-1111-1112", ""],
        ),
        (
            "bsonobjectid",
            &["507f1f77bcf86cd799439011"],
            &["507f1f77bcf86cd79943901"],
        ),
        ("password", &["", "x"], &[]),
        (
            "k8s-short-name",
            &["a", "a-1"],
            &["", "A", "a.b", "-a", "a-"],
        ),
        ("k8s-long-name", &["a", "a.b-c"], &["", "a..b", "A"]),
        ("int32", &["anything"], &[]),
        ("unknown", &["anything"], &[]),
    ];
    for (name, good, bad) in table {
        for text in good {
            assert!(is_valid(name, text), "{name} {text:?}");
        }
        for text in bad {
            assert!(!is_valid(name, text), "{name} {text:?}");
        }
    }
}

/// What Go 1.25 says of the same texts.
#[test]
fn texts_are_read_as_in_go() {
    let table = [
        ("duration", "9223372036854775807ns", true),
        ("duration", "9223372036854775808ns", false),
        ("duration", "2540400h", true),
        ("duration", "1.h", true),
        ("duration", "+5s", true),
        ("uri", "/a b", true),
        ("uri", "//a", true),
        ("uri", "///a", true),
        ("uri", "http://[::1]", true),
        ("uri", "http://a:", true),
        ("uri", "http://a%20b/", false),
        ("uri", "http://a/%", false),
        ("uri", "http:/x", true),
        ("uri", "http://u@h@x/", true),
        ("uri", "?", false),
        ("uri", "/?%zz", true),
        ("uri", "http://é.com/", true),
        ("uri", "http://<a>/", true),
        ("uri", "http://[::1%25eth0]/", true),
        ("email", "a@[IPv6:::1]", false),
        ("email", "a b <c@d>", true),
        ("email", "<a@b>", true),
        ("email", "a@b,", false),
        ("email", "é@b", true),
        ("email", "a.@b", false),
        ("email", "Joe. <a@b>", true),
    ];
    for (name, text, expected) in table {
        assert_eq!(is_valid(name, text), expected, "{name} {text}");
    }
}

#[test]
fn formats_of_numbers_are_not_checked() {
    for name in ["int32", "int64", "float", "double", "uint32", ""] {
        assert!(!is_known(name));
    }
    assert!(is_known("date-time") && is_known("datetime"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}", strange in "[-+:./@<>\"%\\[\\]0-9a-zµ ]{0,30}") {
        for name in [
            "date-time", "date", "duration", "uuid", "ipv4", "ipv6", "cidr", "byte", "email",
            "hostname", "uri", "mac", "hexcolor", "rgbcolor", "ssn", "isbn", "creditcard",
        ] {
            is_valid(name, &text);
            is_valid(name, &strange);
        }
    }
}
