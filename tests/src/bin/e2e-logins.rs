//! Who gets into a cluster by a login provider, and until when: OpenLDAP, Active Directory, OpenID Connect and a
//! stand-in for GitHub, a real browser, a real cluster, kubectl.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::ensure;
use clap::Parser;
use e2e::logins::{Provider, World, browsing, life_of};
use testbed::Testbed;

#[derive(Parser)]
struct Arguments {
    /// Only the providers whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let testbed = Testbed::open("e2e-logins")?;
    let folder = std::env::current_dir()?.join("target/e2e-logins");
    let _ = std::fs::remove_dir_all(&folder);
    println!("starting a cluster, a server, an agent, a browser and login providers");
    let cluster = testbed.cluster("logins").start()?;
    let world = World::start(&testbed, cluster, &folder).await?;
    let url = world.url();
    let (mut passed, mut failed) = (0, 0);
    for name in [
        "openldap",
        "activedirectory",
        "oidc",
        "keycloakoidc",
        "github",
    ] {
        if !name.contains(&arguments.only) {
            continue;
        }
        let folder = folder.join(name);
        let provider = match name {
            "openldap" => Provider::openldap(&testbed, &folder)?,
            "activedirectory" => Provider::active_directory(&testbed, &folder)?,
            "oidc" => Provider::openid(&testbed, &folder, &url)?,
            "keycloakoidc" => Provider::keycloak(&testbed, &folder, &url)?,
            _ => Provider::github(&testbed, &folder, &url)?,
        };
        let (good, bad) = life_of(&world, &provider).await;
        passed += good;
        failed += bad;
        if name == "oidc" {
            let (good, bad) = browsing(&world, &provider).await;
            passed += good;
            failed += bad;
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0, "logs are in {}", folder.display());
    ensure!(passed > 0, "no provider has such a name");
    Ok(())
}
