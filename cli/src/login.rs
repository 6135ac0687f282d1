//! Logging in and out, changing the password.

use std::io::BufRead;

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::args::{Login, Passwd};
use crate::device_login::{self, Shown};
use crate::profiles::{Profile, Profiles};
use crate::server::Server;
use crate::trust;

/// `lariat login`
pub async fn login(profiles: &mut Profiles, login: Login) -> anyhow::Result<()> {
    let mut profile = Profile {
        url: origin(&login.url)?,
        token: String::new(),
        authority: None,
    };
    profile.authority = authority(&profile, &login).await?;
    let server = Server::connect(&profile)?;
    let answer = if login.browser {
        device_login::log_in(&server, &description(), show).await
    } else {
        by_password(&server, &login).await
    };
    let answer = answer.map_err(|error| {
        let text = error.to_string();
        // "Log in with" is no remedy for a failed login.
        anyhow::Error::msg(
            text.split("; log in with")
                .next()
                .unwrap_or(&text)
                .to_owned(),
        )
    })?;
    let token = answer["token"]
        .as_str()
        .context("the server gave no token")?;
    token.clone_into(&mut profile.token);
    if login.browser {
        println!("Logged in to {}.", profile.url);
    } else {
        println!("Logged in to {} as {}.", profile.url, login.username);
    }
    profiles.remember(profile)?;
    println!("The token is kept in {}.", profiles.path().display());
    Ok(())
}

async fn by_password(server: &Server, login: &Login) -> anyhow::Result<Value> {
    let password = if login.password_stdin {
        line("the password")?
    } else {
        let prompt = format!("Password of {} on {}: ", login.username, server.url());
        rpassword::prompt_password(prompt).context("cannot ask for the password")?
    };
    let input = json!({
        "username": login.username,
        "password": password,
        "description": description(),
    });
    let path = "/v3-public/localProviders/local?action=login";
    server.send(Method::POST, path, &input).await
}

/// What the server shows of who logs in from here.
pub fn description() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    format!("lariat login {host}").trim_end().to_owned()
}

/// Tells a person where to confirm a login. Not on standard output, which may be for kubectl.
pub fn show(shown: &Shown) {
    eprintln!(
        "Open this in a browser, and log in there:\n\n  {}\n",
        shown.url
    );
    eprintln!(
        "Confirm only if the page shows this code:\n\n  {}\n",
        shown.code
    );
}

/// `lariat logout`
pub async fn logout(profiles: &mut Profiles, server: &Server) -> anyhow::Result<()> {
    let ended = server
        .send(Method::POST, "/v3/tokens?action=logout", &Value::Null)
        .await;
    profiles.forget(server.url())?;
    match ended {
        Ok(_) => println!("Logged out of {}.", server.url()),
        Err(error) => println!(
            "Forgot the token for {}; the server said: {error}.",
            server.url()
        ),
    }
    Ok(())
}

/// `lariat passwd`
pub async fn change_password(server: &Server, passwd: &Passwd) -> anyhow::Result<()> {
    let (old, new) = if passwd.stdin {
        (line("the old password")?, line("the new password")?)
    } else {
        let old = rpassword::prompt_password("Old password: ")?;
        let new = rpassword::prompt_password("New password: ")?;
        if new != rpassword::prompt_password("New password again: ")? {
            bail!("the two new passwords differ; nothing was changed");
        }
        (old, new)
    };
    let input = json!({"currentPassword": old, "newPassword": new});
    server
        .send(Method::POST, "/v3/users?action=changepassword", &input)
        .await?;
    println!("The password is changed.");
    Ok(())
}

/// The CA to trust, if the platform's roots do not do.
async fn authority(profile: &Profile, login: &Login) -> anyhow::Result<Option<String>> {
    if let Some(path) = &login.ca_file {
        let text = std::fs::read_to_string(path);
        return Ok(Some(
            text.with_context(|| format!("cannot read {}", path.display()))?,
        ));
    }
    if let Some(checksum) = &login.ca_checksum {
        return Ok(Some(trust::authority(&profile.url, Some(checksum)).await?));
    }
    let server = Server::connect(profile)?;
    match server.ping().await {
        Ok(()) => Ok(None),
        Err(error) if trust::is_untrusted(&error) => {
            Ok(Some(trust::authority(&profile.url, None).await?))
        }
        Err(error) => Err(server.explain(error)),
    }
}

/// Scheme, host and port of a URL.
fn origin(text: &str) -> anyhow::Result<String> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let url = Url::parse(&text).with_context(|| format!("{text:?} is not a URL"))?;
    if url.scheme() != "https" || url.host_str().is_none() {
        bail!("{text:?} must be https://HOST or https://HOST:PORT");
    }
    Ok(url.origin().ascii_serialization())
}

fn line(what: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        bail!("standard input has no line with {what}");
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_origin() {
        for (text, expected) in [
            ("https://a.example/", "https://a.example"),
            (
                "https://a.example:8443/dashboard?x",
                "https://a.example:8443",
            ),
            ("a.example", "https://a.example"),
        ] {
            assert_eq!(origin(text).unwrap(), expected);
        }
        assert!(origin("http://a.example").is_err());
        assert!(origin("").is_err());
    }
}
