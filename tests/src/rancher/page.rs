//! The page that a browser gets at the addresses of `/v3`, used by somebody with a real one.

use anyhow::{Context as _, Result, ensure};
use testbed::chromium::Person;

use super::World;

/// A name that would be an element, and would do something, if anybody made HTML of it.
const HOSTILE: &str =
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

type Step = fn(&Person<'_>, &World<'_>) -> Result<()>;

/// What is done, in this order.
pub(super) const STEPS: [(&str, Step); 12] = [
    ("the page asks who looks at it", asks),
    ("a login with a wrong password is told", wrong_password),
    ("a login shows the collection as JSON", login),
    ("the session is in cookies, and outlives the page", lasts),
    (
        "what leads somewhere is a link, and the way back works",
        follow,
    ),
    ("a filter narrows the list", filter),
    (
        "a form made of the schema makes an object, and its name stays text",
        create,
    ),
    ("a form changes it", edit),
    ("an action has its form and its answer", action),
    ("a mistake is told with its field", mistake),
    ("the object is deleted", delete),
    (
        "nothing was stopped by the policy, and logging out ends it",
        end,
    ),
];

fn asks(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    person.open(&format!("{}/v3/clusters", world.stage.server.url()))?;
    shows(person, "#form h2", "Log in")?;
    let shown = person.run("document.getElementById('shown').textContent")?;
    ensure!(shown == "", "there is data before a login: {shown}");
    Ok(())
}

fn log_in(person: &Person<'_>, username: &str, password: &str) -> Result<()> {
    person.fill("#form input[name=username]", username)?;
    person.fill("#form input[name=password]", password)?;
    Ok(person.click("#form button[type=submit]")?)
}

fn wrong_password(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    let (username, _) = world.stage.server.administrator();
    log_in(person, username, "wrong")?;
    shows(person, "#message.error", "username or password is wrong")
}

fn login(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    let (username, password) = world.stage.server.administrator();
    log_in(person, username, password)?;
    person.text("#filters")?;
    shows(person, "#shown", "\"resourceType\": \"cluster\"")
}

fn lasts(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    let hidden = person.run("document.cookie.includes('R_SESS')")?;
    ensure!(hidden == false, "a script sees the token");
    person.open(&format!("{}/v3/settings", world.stage.server.url()))?;
    shows(person, "#shown", "\"resourceType\": \"setting\"")?;
    person.open(&format!("{}/v3/clusters", world.stage.server.url()))?;
    person.text("#filters")?;
    Ok(())
}

fn follow(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    let id = &world.stage.id;
    person.click(&format!("#shown a[href=\"/v3/clusters/{id}\"]"))?;
    person.text("#tools button:has-text('generateKubeconfig')")?;
    shows(person, "#shown", &format!("\"id\": \"{id}\""))?;
    person.click("#path a[href=\"/v3/clusters\"]")?;
    person.text("#filters")?;
    Ok(())
}

fn filter(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    person.fill("#filters input[name=value]", "nobody has this name")?;
    person.click("#filters button:has-text('Filter')")?;
    person.arrive(&format!("{}/v3/clusters?name=", world.stage.server.url()))?;
    person.text("#filters")?;
    shows(person, "#shown", "\"total\": 0")?;
    person.click("#filters button:has-text('All')")?;
    person.text(&format!(
        "#shown a[href=\"/v3/clusters/{}\"]",
        world.stage.id
    ))?;
    Ok(())
}

fn create(person: &Person<'_>, _: &World<'_>) -> Result<()> {
    person.click("#tools button:has-text('Create')")?;
    person.fill("#form input[name=name]", HOSTILE)?;
    person.click("#form button[type=submit]")?;
    shows(person, "#message", "Create cluster: done")?;
    shows(person, "#shown", "<img src=x onerror=")?;
    harmless(person)
}

fn edit(person: &Person<'_>, _: &World<'_>) -> Result<()> {
    person.click("#tools button:has-text('Edit')")?;
    person.fill("#form input[name=description]", "seen in a browser")?;
    person.fill("#form textarea[name=labels]", "{\"from\": \"page\"}")?;
    person.click("#form button[type=submit]")?;
    shows(person, "#message", ": done")?;
    shows(person, "#shown", "\"description\": \"seen in a browser\"")?;
    shows(person, "#shown", "\"from\": \"page\"")?;
    harmless(person)
}

fn action(person: &Person<'_>, _: &World<'_>) -> Result<()> {
    person.click("#tools button:has-text('generateKubeconfig')")?;
    person.click("#form button[type=submit]")?;
    shows(person, "#message", "generateKubeconfig: done")?;
    shows(person, "#shown", "generateKubeconfigOutput")?;
    harmless(person)
}

fn mistake(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    person.open(&format!("{}/v3/projects", world.stage.server.url()))?;
    person.text("#filters")?;
    person.click("#tools button:has-text('Create')")?;
    person.fill("#form input[name=name]", "nowhere")?;
    person.click("#form button[type=submit]")?;
    shows(person, "#message.error", "clusterId")
}

fn delete(person: &Person<'_>, world: &World<'_>) -> Result<()> {
    let url = world.stage.server.url();
    person.open(&format!("{url}/v3/clusters?description=seen+in+a+browser"))?;
    person.text("#filters")?;
    shows(person, "#shown", "\"total\": 1")?;
    let href = "[...document.querySelectorAll('#shown a')].map((one) => one.getAttribute('href')) \
        .find((href) => /^\\/v3\\/clusters\\/c-[0-9a-z]+$/.test(href))";
    let found = person.run(href)?;
    let found = found.as_str().context("no link to the cluster")?.to_owned();
    person.click(&format!("#shown a[href=\"{found}\"]"))?;
    person.click("#tools button:has-text('Delete')")?;
    person.click("#form button[type=submit]")?;
    person.text("#filters")?;
    person.open(&format!("{url}/v3/clusters?description=seen+in+a+browser"))?;
    person.text("#filters")?;
    shows(person, "#shown", "\"total\": 0")
}

fn end(person: &Person<'_>, _: &World<'_>) -> Result<()> {
    person.click("#who button")?;
    shows(person, "#form h2", "Log in")?;
    let complaints = person.complaints()?;
    // The browser itself says of every answer that is an error that it is one.
    let others: Vec<_> = complaints
        .iter()
        .filter(|said| !said.starts_with("Failed to load resource"))
        .collect();
    ensure!(others.is_empty(), "the browser complains: {others:?}");
    Ok(())
}

fn shows(person: &Person<'_>, selector: &str, wanted: &str) -> Result<()> {
    let wanted_there = format!("{selector}:has-text({})", serde_json::to_string(wanted)?);
    let shown = person.text(&wanted_there);
    shown
        .map(drop)
        .with_context(|| format!("{selector} does not show {wanted:?}"))
}

/// Nothing of the name has become an element, or was done.
fn harmless(person: &Person<'_>) -> Result<()> {
    let elements = person.run("document.querySelectorAll('img, main script, iframe').length")?;
    let title = person.run("document.title")?;
    ensure!(elements == 0, "{elements} elements were made of data");
    ensure!(title == "Lariat API", "the title is {title}");
    Ok(())
}
