//! The page and the help text about all settings, made from the table.

use std::fmt::Write;

use super::settings::SETTINGS;
use super::sources::variable;

/// The configuration reference in Markdown. `docs/configuration.md` is this.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration of the server\n\n\
         This page is made by `lariat-server config-reference`.\n\n\
         Every setting can be given as a flag (`--listen 0.0.0.0:443`), in the environment \
         (`LARIAT_LISTEN`) or in a TOML file (`listen = \"0.0.0.0:443\"`); the first of these that \
         gives it wins. The file is the one named by `--config` or `LARIAT_CONFIG`, otherwise \
         `/etc/lariat/server.toml` if it exists. An empty value is as good as none. The server \
         reports every mistake in one run and exits with code 64.\n\n\
         | setting | value | default | environment |\n| --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let name = setting.name;
        let value = setting.value.replace('|', "\\|");
        let variable = variable(name);
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| [`{name}`](#{name}) | {value} | {default} | `{variable}` |"
        );
    }
    for setting in SETTINGS {
        let _ = write!(page, "\n## {}\n\n{}\n", setting.name, setting.help);
        if !setting.flag {
            page.push_str("Not a flag, because other users of the machine can read flags.\n");
        }
    }
    page
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "The Lariat management server.\n\n\
         Usage: lariat-server [serve] [--SETTING VALUE]…\n       \
         lariat-server backup FILE [--data-dir DIRECTORY]\n       \
         lariat-server restore FILE [--overwrite] [--data-dir DIRECTORY]\n       \
         lariat-server config-reference | --help | --version\n\nSettings:\n",
    );
    for setting in SETTINGS {
        let name = setting.name;
        let first = if setting.flag {
            format!("--{name} <{}>", setting.value)
        } else {
            variable(name)
        };
        let default = match setting.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        let _ = writeln!(text, "  {first}{default}\n      {}", setting.help);
    }
    text.push_str(
        "  --config <FILE> [default: /etc/lariat/server.toml, if it exists]\n      \
         A TOML file with settings.\n\n\
         Every setting can also be given in the environment: --data-dir is LARIAT_DATA_DIR.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        let remedy = "write it again: lariat-server config-reference > docs/configuration.md";
        assert!(
            page == reference(),
            "docs/configuration.md is out of date; {remedy}"
        );
    }
}
