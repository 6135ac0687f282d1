//! The first form of a page. It reads the plain HTML of login pages, not any HTML.

/// Where a form goes and what is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Relative to the page; empty for the page itself.
    pub(super) action: String,
    pub(super) fields: Vec<Field>,
}

/// An input or a button.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    /// `hidden`, `text`, `password`, and `submit` for a button.
    pub(super) kind: String,
}

impl Form {
    pub(super) fn find(page: &str) -> Option<Self> {
        let mut form: Option<Self> = None;
        let mut rest = page;
        while let Some((_, after)) = rest.split_once('<') {
            let (tag, next) = split_tag(after)?;
            rest = next;
            let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
            let field = |kind: &str| Field {
                name: attribute(tag, "name").unwrap_or_default(),
                value: attribute(tag, "value").unwrap_or_default(),
                kind: attribute(tag, "type").unwrap_or_else(|| kind.to_owned()),
            };
            match (name, &mut form) {
                ("form", None) => {
                    form = Some(Self {
                        action: attribute(tag, "action").unwrap_or_default(),
                        fields: Vec::new(),
                    });
                }
                ("input", Some(form)) => form.fields.push(field("text")),
                ("button", Some(form)) => form.fields.push(field("submit")),
                _ => {}
            }
        }
        form
    }
}

/// A tag, and what follows it; a `>` in quotation marks does not end it.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some((&text[..place], &text[place + 1..])),
            _ => {}
        }
    }
    None
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!(" {name}=\"");
    let (_, value) = tag.split_once(&start)?;
    let value = value.split('"').next().unwrap_or_default();
    Some(value.replace("&quot;", "\"").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_buttons_and_target_are_found() {
        let page = r#"<h1>a > b</h1><form id="f" method="post" action="/go?a=1&amp;b=2">
            <input type="hidden" name="token" value="a>&quot;b"/><input name="login">
            <button autofocus type="submit" form="f" value="yes" name="logout">Yes</button></form>"#;
        let form = Form::find(page).unwrap();
        assert_eq!(form.action, "/go?a=1&b=2");
        let fields: Vec<_> = (form.fields.iter())
            .map(|field| (&*field.kind, &*field.name, &*field.value))
            .collect();
        assert_eq!(
            fields,
            [
                ("hidden", "token", "a>\"b"),
                ("text", "login", ""),
                ("submit", "logout", "yes"),
            ]
        );
        assert_eq!(Form::find("<p>no form</p>"), None);
    }
}
