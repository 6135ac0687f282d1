//! The cookies of a browser (RFC 6265, as far as servers that set them for themselves need it).

use url::{Origin, Url};

#[derive(Debug, Default)]
pub(super) struct Cookies {
    kept: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    origin: Origin,
    path: String,
    name: String,
    value: String,
}

impl Cookies {
    /// Keeps what an answer from `url` sets; one that is set to nothing goes.
    pub(super) fn keep<'a>(&mut self, url: &Url, headers: impl Iterator<Item = &'a str>) {
        for header in headers {
            let mut parts = header.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let mut path = "/";
            let mut is_over = value.is_empty();
            for part in parts {
                match part.split_once('=') {
                    Some((key, value)) if key.eq_ignore_ascii_case("path") => path = value,
                    Some((key, "0")) if key.eq_ignore_ascii_case("max-age") => is_over = true,
                    _ => {}
                }
            }
            let cookie = Cookie {
                origin: url.origin(),
                path: path.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            };
            self.kept.retain(|other| !other.is_replaced_by(&cookie));
            if !is_over {
                self.kept.push(cookie);
            }
        }
    }

    /// What a request to `url` says of them.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let pairs: Vec<_> = (self.kept.iter())
            .filter(|cookie| cookie.origin == url.origin() && cookie.is_for(url.path()))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    fn is_replaced_by(&self, other: &Self) -> bool {
        (&self.origin, &self.path, &self.name) == (&other.origin, &other.path, &other.name)
    }

    fn is_for(&self, path: &str) -> bool {
        path.strip_prefix(self.path.as_str()).is_some_and(|rest| {
            self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/')
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_cookie_is_sent_where_it_belongs_until_it_goes() {
        let mut cookies = Cookies::default();
        let here = url("https://a.test/x");
        let set = ["one=1; path=/x; httponly", "two=2; Path=/; Secure"];
        cookies.keep(&here, set.into_iter());
        assert_eq!(cookies.header(&here).as_deref(), Some("one=1; two=2"));
        let deeper = url("https://a.test/x/y?z");
        assert_eq!(cookies.header(&deeper).as_deref(), Some("one=1; two=2"));
        for elsewhere in ["https://a.test/xy", "https://a.test/"] {
            assert_eq!(cookies.header(&url(elsewhere)).as_deref(), Some("two=2"));
        }
        assert_eq!(cookies.header(&url("https://b.test/x")), None);
        assert_eq!(cookies.header(&url("http://a.test/x")), None);

        let gone = ["one=; path=/x", "two=2; max-age=0"];
        cookies.keep(&here, gone.into_iter());
        assert_eq!(cookies.header(&here), None);
    }
}
