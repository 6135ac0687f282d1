//! The page and the help text about all settings, made from the table.

use std::fmt::Write;

use super::settings::all;

/// The configuration reference in Markdown. `docs/configuration.md` is this.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration of the server\n\n\
         This page is made by `lariat-server config-reference`.\n\n\
         Every setting can be given as a flag (`--listen 0.0.0.0:443`), in the environment \
         (`LARIAT_LISTEN`; settings of OpenTelemetry have the names of its specification) or in a TOML file \
         (`listen = \"0.0.0.0:443\"`); the first of these that gives it wins. The file is the one named by `--config` or `LARIAT_CONFIG`, otherwise \
         `/etc/lariat/server.toml` if it exists. An empty value is as good as none. The server \
         reports every mistake in one run and exits with code 64.\n\n\
         | setting | value | default | environment |\n| --- | --- | --- | --- |\n",
    );
    for setting in all() {
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let name = setting.name;
        let value = setting.value.replace('|', "\\|");
        let variable = setting.variable();
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| [`{name}`](#{name}) | {value} | {default} | `{variable}` |"
        );
    }
    for setting in all() {
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
         lariat-server keys list|rotate|prune|discard [--data-dir DIRECTORY]\n       \
         lariat-server definitions | config-reference | --help | --version\n\nSettings:\n",
    );
    for setting in all() {
        let name = setting.name;
        let first = if setting.flag {
            format!("--{name} <{}>", setting.value)
        } else {
            setting.variable()
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
         Every setting can also be given in the environment: --data-dir is LARIAT_DATA_DIR, and what OpenTelemetry \
         has named is called so: --otlp-endpoint is OTEL_EXPORTER_OTLP_ENDPOINT.\n",
    );
    text
}

/// The text of `keys --help`.
#[must_use]
pub fn keys_help() -> &'static str {
    "\
The keys that encrypt secrets in the store: the data of Secrets, hashes of
passwords, of tokens and of registration tokens.

Usage: lariat-server keys list
       lariat-server keys rotate
       lariat-server keys prune
       lariat-server keys discard --yes

  list      Which keys there are, when each was made, how many secrets it has
            encrypted, and which secrets cannot be opened.
  rotate    Make a new key. What is written from now on is encrypted with it,
            and what there is gets written again; that may be interrupted, and
            goes on when the server starts.
  prune     Remove old keys with which nothing is encrypted any more. Refused
            for a minute after a rotation, and while a secret needs the key.
  discard   Delete every secret that cannot be opened, because its key is lost
            or it was tampered with. There is no way back but a backup.

Run them as the user of the server, on its machine. A server that runs does the
work itself and goes on serving; if none runs, the command opens the store.
The keys are in the file encryption.keys in the data directory, or where the
setting encryption-keys-file says. Keep a copy of it, apart from the backups:
nobody can read the secrets in the store or in a backup without it.

Examples:
  # Change the key every year, or when somebody may have seen it
  lariat-server keys rotate
  sleep 60 && lariat-server keys prune

  # Another data directory
  lariat-server keys list --data-dir /srv/lariat

  # The key ring is lost, and there is no copy: go on without the secrets
  lariat-server keys discard --yes
"
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
