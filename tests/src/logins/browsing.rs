//! What only a real browser can show: which cookies go where, what a page of another site gets, and a command
//! line that is logged in on a page.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::BoxFuture;
use http::Method;
use serde_json::json;

use super::person;
use super::provider::{INSIDER, OUTER, Provider};
use super::world::World;
use crate::lariat::binary;

/// Who administers the server, in a browser.
const ADMINISTRATOR: &str = "administrator";

type Case = for<'w> fn(&'w World<'w>, &'w Provider) -> BoxFuture<'w, Result<String>>;

/// The cases in their order: later ones stand on what earlier ones have set up.
const CASES: &[(&str, Case)] = &[
    ("a wrong password, then the right one", |world, _| {
        Box::pin(by_password(world))
    }),
    ("a password that must be changed", |world, _| {
        Box::pin(new_password(world))
    }),
    ("a page of another site gets nothing", |world, provider| {
        Box::pin(other_site(world, provider))
    }),
    ("a link with somebody else's code", |world, _| {
        Box::pin(planted(world))
    }),
    (
        "lariat login --browser, kubectl with lariat token",
        |world, provider| Box::pin(command_line(world, provider)),
    ),
    ("a command line that is refused", |world, _| {
        Box::pin(refused_command_line(world))
    }),
];

/// Plays what people do in a browser, with accounts of the server and of one provider to which browsers are
/// sent, and prints what came of each part; how many passed and failed.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub async fn browsing<'w>(world: &'w World<'w>, provider: &'w Provider) -> (usize, usize) {
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        let started = Instant::now();
        match case(world, provider).await {
            Ok(said) => {
                passed += 1;
                println!(
                    "ok      browser: {name} ({:.1?}): {said}",
                    started.elapsed()
                );
            }
            Err(error) => {
                failed += 1;
                println!(
                    "FAILED  browser: {name} ({:.1?}): {error:#}",
                    started.elapsed()
                );
            }
        }
    }
    (passed, failed)
}

async fn by_password(world: &World<'_>) -> Result<String> {
    let admin = world.chromium.person(ADMINISTRATOR);
    let (name, password) = world.stage.server.administrator();
    admin.leave()?;
    person::open(world, admin, "/login")?;
    person::by_password(admin, name, "certainly wrong")?;
    let problem = admin.text("#problem")?;
    ensure!(problem == "username or password is wrong", "{problem}");
    person::by_password(admin, name, password)?;
    let shown = admin.text("#name")?;
    ensure!(shown == name, "the page shows {shown:?}");
    let cookies = admin.cookies()?;
    for (cookie, is_hidden) in [("R_SESS", true), ("CSRF", false)] {
        let found = cookies.iter().find(|one| one["name"] == cookie);
        let found = found.with_context(|| format!("no cookie {cookie}: {cookies:?}"))?;
        ensure!(
            found["secure"] == true && found["sameSite"] == "Lax" && found["httpOnly"] == is_hidden,
            "{found}"
        );
    }
    let script = admin.run("document.cookie")?;
    ensure!(
        !script.to_string().contains("R_SESS"),
        "a script sees {script}"
    );
    let complaints = admin.complaints()?;
    // The refused login is one.
    ensure!(
        complaints.len() <= 1,
        "the browser complains: {complaints:?}"
    );
    let path = format!("/k8s/clusters/{}/api/v1/namespaces", world.stage.id);
    let reached = admin.run(&format!("fetch({path:?}).then((answer) => answer.status)"))?;
    ensure!(reached == 200, "the cluster answers {reached}");
    Ok(problem)
}

/// Whoever got a password from the administrator chooses another before anything else.
async fn new_password(world: &World<'_>) -> Result<String> {
    let (name, given, chosen) = ("newcomer", "given by somebody", "chosen by myself");
    let user = json!({"apiVersion": "management.cattle.io/v3", "kind": "User", "metadata": {},
        "username": name, "password": given, "mustChangePassword": true});
    let users = "/apis/management.cattle.io/v3/users";
    let api = &world.stage.api;
    api.call(Method::POST, users, Some(&user)).await?;
    let newcomer = world.chromium.person(name);
    person::open(world, newcomer, "/login?next=/device")?;
    person::by_password(newcomer, name, given)?;
    newcomer.fill("#current", "certainly wrong")?;
    newcomer.fill("#fresh", chosen)?;
    newcomer.click("#change button")?;
    let problem = newcomer.text("#problem")?;
    newcomer.fill("#current", given)?;
    newcomer.click("#change button")?;
    newcomer.arrive(&format!("{}/device", world.url()))?;
    // Who is not logged in does not see it.
    newcomer.text("#ask button")?;
    newcomer.leave()?;
    crate::lariat::Api::login(&world.url(), name, chosen).await?;
    Ok(problem)
}

/// The one who is logged in visits a page elsewhere.
async fn other_site(world: &World<'_>, provider: &Provider) -> Result<String> {
    let Provider::OpenId(oidc) = provider else {
        bail!("the page is one of OpenID Connect");
    };
    let admin = world.chromium.person(ADMINISTRATOR);
    admin.open(&format!("{}/nothing-here", oidc.issuer()))?;
    let clusters = format!("{}/apis/management.cattle.io/v3/clusters", world.url());
    let forged = json!({"apiVersion": "management.cattle.io/v3", "kind": "Cluster",
        "metadata": {"name": "forged"}});
    let sent = admin.run(&format!(
        "fetch({clusters:?}, {{method: 'POST', mode: 'no-cors', credentials: 'include', \
         headers: {{'Content-Type': 'text/plain'}}, body: JSON.stringify({forged})}}) \
         .then((answer) => answer.type)"
    ))?;
    ensure!(sent == "opaque", "the page reads the answer: {sent}");
    let read = admin.run(&format!(
        "fetch({clusters:?}, {{credentials: 'include'}}).then(() => 'read', () => 'nothing')"
    ))?;
    ensure!(read == "nothing", "the page reads what is not its own");
    let exec = format!(
        "{}/k8s/clusters/{}/api/v1/namespaces/default/pods/talker/exec?command=id&stdout=true",
        world.url(),
        world.stage.id
    );
    let exec = exec.replacen("https", "wss", 1);
    let open = format!(
        "new Promise((done) => {{ const socket = new WebSocket({exec:?}, 'v4.channel.k8s.io'); \
         socket.onopen = () => done('open'); socket.onerror = () => done('refused'); }})"
    );
    let opened = admin.run(&open)?;
    ensure!(
        opened == "refused",
        "a WebSocket of another site is {opened}"
    );
    let path = "/apis/management.cattle.io/v3/clusters/forged";
    let forged = world.stage.api.call(Method::GET, path, None).await;
    ensure!(forged.is_err(), "another site made a cluster");
    // The same from a page of the server.
    person::open(world, admin, "/login")?;
    admin.text("#name")?;
    let opened = admin.run(&open)?;
    ensure!(
        opened == "open",
        "a WebSocket of the server's own page is {opened}"
    );
    Ok("neither read, nor written, nor a WebSocket".to_owned())
}

/// A link from somebody else, with a code of theirs, logs nobody in.
async fn planted(world: &World<'_>) -> Result<String> {
    let stranger = world.chromium.person("stranger");
    stranger.leave()?;
    person::open(world, stranger, "/verify-auth?code=theirs&state=theirs")?;
    let problem = stranger.text("#problem")?;
    ensure!(problem.contains("another browser"), "{problem}");
    ensure!(person::token(stranger).is_err(), "there is a session");
    stranger.leave()?;
    Ok(problem)
}

/// A command line of its own home.
struct Terminal(PathBuf);

impl Terminal {
    fn new(world: &World<'_>, name: &str) -> Result<Self> {
        let home = world.folder.join(name);
        std::fs::create_dir_all(&home)?;
        Ok(Self(home))
    }

    fn run(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env("HOME", &self.0)
            .env("XDG_CONFIG_HOME", self.0.join("config"))
            .env("XDG_CACHE_HOME", self.0.join("cache"))
            .stdin(Stdio::null());
        command
    }

    /// Begins a login that waits to be confirmed: the process, the page and the code.
    fn log_in(&self, world: &World<'_>) -> Result<(Child, String, String)> {
        let server = &world.stage.server;
        let mut lariat = self.run(binary("lariat")?);
        lariat.args(["login", &server.url(), "--browser", "--ca-file"]);
        lariat.arg(server.ca_file()).stderr(Stdio::piped());
        let mut child = lariat.stdout(Stdio::null()).spawn()?;
        let said = child.stderr.take().context("it says nothing")?;
        let mut shown = Vec::new();
        for line in BufReader::new(said).lines() {
            if let Some(word) = line?.strip_prefix("  ") {
                shown.push(word.trim().to_owned());
            }
            if let [url, code] = shown.as_slice() {
                return Ok((child, url.clone(), code.clone()));
            }
        }
        let status = child.wait()?;
        bail!("lariat login --browser ended with {status} and showed {shown:?}")
    }
}

async fn command_line(world: &World<'_>, provider: &Provider) -> Result<String> {
    world.enable(provider).await?;
    let binding = world.bind(&provider.group(OUTER)).await?;
    let insider = world.log_in(provider, INSIDER).await?;
    insider.until_in(Instant::now()).await?;
    let terminal = Terminal::new(world, "terminal")?;
    let (mut login, url, code) = terminal.log_in(world)?;
    // She is logged in in her browser already.
    let person = world.chromium.person(INSIDER);
    person.open(&url)?;
    let shown = person.text("#code")?;
    ensure!(shown == code, "the terminal shows {code}, the page {shown}");
    let from = person.text("#from")?;
    person.click("#approve")?;
    person.text("#result")?;
    let status = login.wait()?;
    ensure!(status.success(), "lariat login ended with {status}");

    let file = terminal.0.join("kubeconfig");
    let mut kubeconfig = terminal.run(binary("lariat")?);
    kubeconfig.args(["kubeconfig", &world.stage.id, "--exec", "--file"]);
    let made = kubeconfig.arg(&file).output()?;
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    ensure!(made.status.success(), "{said}");
    let text = std::fs::read_to_string(&file)?;
    ensure!(!text.contains("token:"), "there is a token in the file");
    let mut times = Vec::new();
    for _ in 0..2 {
        let started = Instant::now();
        let mut kubectl = terminal.run(world.stage.cluster.kubectl_path()?);
        kubectl.args(["get", "pod", "talker", "-o", "name"]);
        kubectl.env("KUBECONFIG", &file).env("PATH", with_lariat()?);
        let asked = kubectl.output()?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        ensure!(asked.status.success(), "{said}");
        times.push(started.elapsed());
    }
    let kept = terminal.0.join("cache/lariat/tokens.json");
    let mode = std::fs::metadata(&kept)?.permissions().mode() & 0o777;
    ensure!(
        mode == 0o600,
        "others may read {}: {mode:o}",
        kept.display()
    );
    world.unbind(&binding).await?;
    Ok(format!(
        "code {code}, asked from {from}, kubectl {times:.1?}"
    ))
}

async fn refused_command_line(world: &World<'_>) -> Result<String> {
    let (mut login, url, _) = Terminal::new(world, "other-terminal")?.log_in(world)?;
    let person = world.chromium.person(INSIDER);
    person.open(&url)?;
    person.text("#code")?;
    person.click("#deny")?;
    let result = person.text("#result")?;
    let status = login.wait()?;
    ensure!(!status.success(), "the command line is logged in");
    Ok(result)
}

/// Where programs are looked for, with the command line first.
fn with_lariat() -> Result<OsString> {
    let programs = binary("lariat")?;
    let programs = programs.parent().context("it is in no folder")?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(programs).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all)?)
}
