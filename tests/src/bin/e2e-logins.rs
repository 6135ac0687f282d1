//! Who gets into a cluster by a login provider, and until when: OpenLDAP and Active Directory, a real
//! cluster, kubectl.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::ensure;
use e2e::logins::{Directory, World, life_of};
use testbed::Testbed;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let testbed = Testbed::open("e2e-logins")?;
    let folder = std::env::current_dir()?.join("target/e2e-logins");
    let _ = std::fs::remove_dir_all(&folder);
    println!("starting a cluster, a server, an agent, a slapd and a domain controller");
    let directories = [
        Directory::openldap(&testbed, &folder.join("slapd"))?,
        Directory::active_directory(&testbed, &folder.join("samba"))?,
    ];
    let cluster = testbed.cluster("logins").start()?;
    let world = World::start(&testbed, cluster, &folder).await?;
    let (mut passed, mut failed) = (0, 0);
    for directory in &directories {
        let (good, bad) = life_of(&world, directory).await;
        passed += good;
        failed += bad;
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0, "logs are in {}", folder.display());
    Ok(())
}
