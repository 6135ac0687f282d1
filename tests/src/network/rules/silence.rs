//! How soon an end notices that nothing comes any more, and how soon requests are served again.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use http::Request;
use tokio::task::block_in_place;

use super::{LIMIT, cut};
use crate::network::{condition::Condition, faults::RESETTING, world::World};

/// How long either end may take for silence.
const NOTICED: Duration = Duration::from_secs(10);

/// How long a request may take after a cut that both ends know of.
const AFTER_A_RESET: Duration = Duration::from_secs(1);

/// How long it may take until one is served after a long silence.
const AFTER_SILENCE: Duration = Duration::from_secs(5);

/// How long a request may wait for a session that is known to have lost its connection: what the server
/// gives it, and a moment.
const REFUSED: Duration = Duration::from_secs(11);

/// How long a connection has lived when the next one is dialled at once. After one that died younger, the
/// agent waits for up to 1.5 s.
const SETTLED: Duration = Duration::from_millis(1_100);

const ROUNDS: u32 = 10;

async fn ask(world: &World<'_>) -> Result<Duration, kube::Error> {
    let started = Instant::now();
    let request = Request::get("/api/v1/namespaces/kube-system").body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    world.tunnel_client().request_text(request).await?;
    Ok(started.elapsed())
}

pub(super) async fn after_a_reset(world: &World<'_>) -> Result<String> {
    let mut longest = Duration::ZERO;
    for round in 1..=ROUNDS {
        tokio::time::sleep(SETTLED).await;
        let network = world.network()?;
        network.reject()?;
        // It brings packets on the way, both ways, so that both ends are reset.
        let during = tokio::time::timeout(RESETTING, ask(world)).await;
        drop(during);
        network.mend()?;
        let took = ask(world).await.with_context(|| format!("round {round}"))?;
        ensure!(
            took <= AFTER_A_RESET,
            "round {round}: a request took {took:.2?}"
        );
        longest = longest.max(took);
    }
    Ok(format!(
        "{ROUNDS} rounds, {longest:.2?} at most, {AFTER_A_RESET:?} allowed"
    ))
}

/// Looks at the sockets of the carriers: an end that has noticed has closed its own.
pub(super) async fn noticed(world: &World<'_>) -> Result<String> {
    ask(world).await.context("before the silence")?;
    let (agent, server) = (sockets(world, End::Agent)?, sockets(world, End::Server)?);
    ensure!(!agent.is_empty() && !server.is_empty(), "no carrier");
    let network = world.network()?;
    network.cut()?;
    let started = Instant::now();
    let (mut agent_took, mut server_took) = (None, None);
    while (agent_took.is_none() || server_took.is_none()) && started.elapsed() < 4 * NOTICED {
        for (end, before, took) in [
            (End::Agent, &agent, &mut agent_took),
            (End::Server, &server, &mut server_took),
        ] {
            if took.is_none() && sockets(world, end)?.is_disjoint(before) {
                *took = Some(started.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    network.mend()?;
    let said = format!("agent {agent_took:.1?}, server {server_took:.1?}, {NOTICED:?} allowed");
    let in_time = |took: Option<Duration>| took.is_some_and(|took| took <= NOTICED);
    ensure!(in_time(agent_took) && in_time(server_took), "{said}");
    works_again(world, AFTER_SILENCE).await?;
    Ok(said)
}

pub(super) async fn idle(world: &World<'_>) -> Result<String> {
    let standing = Condition::IdleTimeout(3).set(world)?;
    // The limit counts for connections that have packets from now on.
    cut(world).await?;
    ask(world).await.context("before the rest")?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let took = ask(world).await.context("after the rest")?;
    drop(standing);
    let allowed = NOTICED + AFTER_A_RESET;
    ensure!(took <= allowed, "a request took {took:.2?}");
    Ok(format!("a request took {took:.2?}, {allowed:?} allowed"))
}

/// A request that was sent before the server noticed belongs to the session and waits with it. One that
/// comes afterwards is refused in time, with the cause.
pub(super) async fn long(world: &World<'_>) -> Result<String> {
    ask(world).await.context("before the silence")?;
    let before = sockets(world, End::Server)?;
    let network = world.network()?;
    network.cut()?;
    let began = Instant::now();
    let early = async {
        let answered = ask(world).await;
        (answered, began.elapsed())
    };
    let meanwhile = async {
        let refused = refused_after_notice(world, &before).await;
        // What was asked for, or as long as that took.
        tokio::time::sleep_until((began + world.silence()).into()).await;
        let mended = network.mend();
        let lasted = began.elapsed();
        let served = works_again(world, AFTER_SILENCE).await;
        (refused, mended, lasted, served)
    };
    let patient = tokio::time::timeout(world.silence() + LIMIT, early);
    let (early, (refused, mended, lasted, served)) = tokio::join!(patient, meanwhile);
    mended?;
    let (refused, served) = (refused?, served?);
    let Ok((answered, took)) = early else {
        bail!("a request from before the silence was noticed was never answered");
    };
    answered.context("a request from before the silence was noticed")?;
    let waited = took.checked_sub(lasted);
    let waited = waited.context("a request was answered while nothing came through")?;
    ensure!(
        waited <= AFTER_SILENCE,
        "a request from before the silence was noticed was served {waited:.2?} after its end"
    );
    Ok(format!(
        "after {lasted:.1?} of it one from before was served in {waited:.2?}, a new one in {served:.2?}, \
         {AFTER_SILENCE:?} allowed; one meanwhile had its 503 after {refused:.2?}"
    ))
}

/// Waits until the server has given up the connections that it had; how long a request waits for its 503
/// then.
async fn refused_after_notice(
    world: &World<'_>,
    before: &BTreeSet<(SocketAddr, SocketAddr)>,
) -> Result<Duration> {
    let began = Instant::now();
    while !sockets(world, End::Server)?.is_disjoint(before) {
        ensure!(
            began.elapsed() < NOTICED,
            "the server has not noticed within {NOTICED:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = Instant::now();
    match tokio::time::timeout(REFUSED, ask(world)).await {
        Ok(Err(kube::Error::Api(status))) if status.code == 503 => {
            ensure!(
                status.message.contains("was lost") && status.message.contains("silent"),
                "the 503 does not tell the cause: {}",
                status.message
            );
            Ok(asked.elapsed())
        }
        Ok(other) => bail!("a request meanwhile was answered with {other:?} and not with 503"),
        Err(_) => bail!("a request meanwhile was not answered within {REFUSED:?}"),
    }
}

/// Asks until it is answered; how long that took.
async fn works_again(world: &World<'_>, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let asked = tokio::time::timeout(limit, ask(world)).await;
        let took = started.elapsed();
        match asked {
            Ok(Ok(_)) if took <= limit => return Ok(took),
            Ok(Err(_)) if took <= limit => {}
            other => bail!("the first request was served after {took:.2?}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Agent,
    Server,
}

/// The established connections between agent and server as one end has them.
fn sockets(world: &World<'_>, end: End) -> Result<BTreeSet<(SocketAddr, SocketAddr)>> {
    let (hub, port) = (IpAddr::V4(world.stage.cluster.hub_address()), world.port);
    let mut ss = Command::new("ss");
    ss.args(["-Htn", "state", "established"]);
    if let End::Agent = end {
        ss = world.network()?.command(&ss);
    }
    let output = block_in_place(|| ss.output()).context("start ss")?;
    ensure!(output.status.success(), "ss: {output:?}");
    let pairs = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(2);
            Some((address(words.next()?)?, address(words.next()?)?))
        })
        .filter(|(near, far)| match end {
            End::Agent => *far == SocketAddr::new(hub, port),
            // Clients on the hub are not agents.
            End::Server => near.port() == port && far.ip() != hub && !far.ip().is_loopback(),
        })
        .collect();
    Ok(pairs)
}

/// As ss has it; addresses of IPv4 also in the form of IPv6.
fn address(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_socket_of_both_families_are_those_of_ipv4() {
        let plain: SocketAddr = "198.18.0.10:443".parse().unwrap();
        assert_eq!(address("198.18.0.10:443"), Some(plain));
        assert_eq!(address("[::ffff:198.18.0.10]:443"), Some(plain));
        assert_eq!(address("*:443"), None);
    }
}
