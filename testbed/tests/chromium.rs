//! A real browser can be driven, and is one: it keeps cookies, runs scripts and heeds policies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use testbed::Testbed;
use testbed::github::{Application, Scheme, User, World};

#[test]
fn a_person_signs_in_with_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of chromium").unwrap();
    let world = World {
        users: vec![User::new(1, "alice", "sesame")],
        applications: vec![Application {
            client_id: "app".into(),
            client_secret: "secret".into(),
            callback_url: "https://127.0.0.1/".into(),
        }],
        ..World::default()
    };
    let github = testbed.github(folder.path(), Scheme::Https, world).unwrap();
    let browser = testbed.chromium(folder.path()).unwrap();
    let alice = browser.person("alice");
    let url = format!("{}/login/oauth/authorize?client_id=app", github.url());
    alice.open(&url).unwrap();
    alice.fill("input[name=login]", "alice").unwrap();
    alice.fill("input[name=password]", "wrong").unwrap();
    alice.click("button").unwrap();
    let said = alice.text("p").unwrap();
    assert_eq!(said, "Incorrect username or password.");
    alice.fill("input[name=login]", "alice").unwrap();
    alice.fill("input[name=password]", "sesame").unwrap();
    alice.click("button").unwrap();
    assert!(alice.text("p").unwrap().contains("asks for access"));
    let cookies = alice.cookies().unwrap();
    assert_eq!(cookies[0]["name"], "user_session");
    assert_eq!(cookies[0]["httpOnly"], true);
    assert_eq!(alice.run("document.cookie").unwrap(), "");

    // Somebody else is another person.
    let bob = browser.person("bob");
    assert!(bob.open(&url).unwrap().contains("/login?"));
    assert!(bob.cookies().unwrap().is_empty());
    bob.leave().unwrap();
    assert!(alice.click("#nothing-there").is_err());
}
