//! Logins against real directories: OpenLDAP and a domain of Active Directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lariat_api::{Principal, PrincipalType};
use lariat_server::authn::provider::ldap::{Dialect, Ldap, Security, Settings};
use lariat_server::authn::provider::{
    Account, AuthProvider as _, Credentials, Known, LoginError, Refreshed,
};
use testbed::Testbed;
use testbed::directory::{self, Contents, Group, Member, Person};
use testbed::samba::Samba;
use testbed::slapd::Slapd;

/// Good for every directory: long, and of several kinds of characters.
const PASSWORD: &str = "0pen, Sesame";
/// Within this a directory that does not answer is told from a wrong password.
const SOON: Duration = Duration::from_secs(6);

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
const GROUPS: [Group<'_>; 3] = [
    Group {
        name: "on-call",
        members: &[Member::Person("alice")],
    },
    Group {
        name: "operators (all)",
        members: &[Member::Group("on-call")],
    },
    Group {
        name: "others",
        members: &[Member::Person("bob")],
    },
];

fn people() -> [Person<'static>; 6] {
    NAMES.map(|name| Person {
        name,
        full_name: "Miller, Ann",
        password: PASSWORD,
    })
}

fn settings(
    dialect: Dialect,
    url: &str,
    reader: directory::Credentials,
    authority: &Path,
) -> Settings {
    let (scheme, rest) = url.split_once("://").unwrap();
    let is_tls = scheme == "ldaps";
    let (host, port) = rest
        .split_once(':')
        .unwrap_or((rest, if is_tls { "636" } else { "389" }));
    let mut settings = Settings::new(dialect);
    settings.servers = vec![host.to_owned()];
    settings.port = port.parse().unwrap();
    settings.security = if is_tls {
        Security::Tls
    } else {
        Security::StartTls
    };
    settings.certificate = fs::read_to_string(authority).unwrap();
    settings.service_account = reader.name;
    settings.service_account_password = reader.password.into();
    settings.groups.nested = true;
    settings
}

fn of_slapd(slapd: &Slapd, url: &str) -> Settings {
    let mut settings = settings(Dialect::OpenLdap, url, slapd.reader(), &slapd.ca_file());
    settings.users.search_base = slapd.people_base();
    settings.groups.search_base = slapd.groups_base();
    settings
}

fn of_samba(samba: &Samba, url: &str) -> Settings {
    let authority = samba.ca_file();
    let mut settings = settings(Dialect::ActiveDirectory, url, samba.reader(), &authority);
    settings.users.search_base = samba.people_base();
    settings
}

async fn log_in(settings: &Settings, name: &str, password: &str) -> Result<Account, LoginError> {
    let credentials = Credentials::Password {
        name: name.to_owned(),
        password: password.into(),
    };
    let directory = Ldap::new(settings.clone()).unwrap();
    directory.authenticate(credentials).await
}

async fn refused(settings: &Settings, name: &str, password: &str) -> LoginError {
    log_in(settings, name, password).await.unwrap_err()
}

async fn refresh(settings: &Settings, account: &Account) -> Refreshed {
    let known = Known {
        principal: account.principal.id.clone(),
        stable_id: account.stable_id.clone(),
        grant: None,
    };
    let directory = Ldap::new(settings.clone()).unwrap();
    directory.refresh(&known).await.unwrap()
}

async fn search(settings: &Settings, text: &str, kind: Option<PrincipalType>) -> Vec<String> {
    let directory = Ldap::new(settings.clone()).unwrap();
    let found = directory.search(text, kind).await.unwrap();
    found.into_iter().map(|found| found.id).collect()
}

fn ids(groups: &[Principal]) -> Vec<&str> {
    let mut ids: Vec<_> = groups.iter().map(|group| group.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

async fn is_silent(settings: &Settings) {
    let before = Instant::now();
    let refused = refused(settings, "alice", PASSWORD).await;
    assert!(
        matches!(refused, LoginError::Unavailable { .. }),
        "{refused:?}"
    );
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
}

/// What is not a name or password of anybody, and never becomes part of a filter.
async fn strangers_are_refused(settings: &Settings) {
    for (name, password) in [
        ("alice", "certainly wrong"),
        ("nobody", PASSWORD),
        ("alice", ""),
        ("", PASSWORD),
        ("*", PASSWORD),
        ("alic*", PASSWORD),
        ("*)(uid=*", PASSWORD),
        (r"\61lice", PASSWORD),
        ("alice", "0pen, Sesame\0"),
        ("alice\0", PASSWORD),
    ] {
        let refused = refused(settings, name, password).await;
        assert!(
            matches!(refused, LoginError::Wrong),
            "{name:?} {password:?}: {refused:?}"
        );
    }
}

/// What an administrator got wrong is told as that, and not as a wrong password.
async fn wrong_settings_are_told(settings: &Settings) {
    let wrong = |change: fn(&mut Settings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        async move { refused(&settings, "alice", PASSWORD).await }
    };
    let reader = wrong(|settings| settings.service_account_password = "wrong".into()).await;
    assert!(
        matches!(&reader, LoginError::Misconfigured(why) if why.contains("49")),
        "{reader:?}"
    );
    let base = wrong(|settings| settings.users.search_base.insert_str(0, "ou=nowhere,")).await;
    assert!(matches!(base, LoginError::Misconfigured(_)), "{base:?}");
    let stranger = wrong(|settings| settings.certificate.clear()).await;
    let told = stranger.to_string();
    assert!(matches!(stranger, LoginError::Unavailable { .. }), "{told}");
    assert!(told.contains("certificate"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openldap_proves_who_people_are() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("logins with OpenLDAP").unwrap();
    let (people, groups) = (&people()[..], &GROUPS[..]);
    let slapd = testbed
        .slapd(folder.path(), &Contents { people, groups })
        .unwrap();
    let tls = of_slapd(&slapd, slapd.url());
    let start_tls = of_slapd(&slapd, slapd.plain_url());

    let on_call = format!("openldap_group://{}", slapd.group_dn("on-call"));
    let operators = format!("openldap_group://{}", slapd.group_dn("operators (all)"));
    for settings in [&tls, &start_tls] {
        let alice = log_in(settings, "alice", PASSWORD).await.unwrap();
        let expected = Principal {
            id: format!("openldap_user://{}", slapd.person_dn("alice")),
            display_name: "Miller, Ann".into(),
            login_name: "alice".into(),
            principal_type: PrincipalType::User,
            provider: "openldap".into(),
        };
        assert_eq!(alice.principal, expected);
        assert_eq!(ids(&alice.groups), [&on_call, &operators]);
        assert_eq!(alice.stable_id.unwrap().len(), 36);
    }
    let mut flat = tls.clone();
    flat.groups.nested = false;
    let alice = log_in(&flat, "alice", PASSWORD).await.unwrap();
    assert_eq!(ids(&alice.groups), [&on_call]);

    strangers_are_refused(&tls).await;
    wrong_settings_are_told(&tls).await;

    // A filter narrows who is meant.
    let mut narrow = tls.clone();
    narrow.users.search_filter = format!("(memberOf={})", slapd.group_dn("on-call"));
    assert!(log_in(&narrow, "alice", PASSWORD).await.is_ok());
    let bob = refused(&narrow, "bob", PASSWORD).await;
    assert!(matches!(bob, LoginError::Wrong), "{bob:?}");
    // A name that several people have lets in none of them.
    let mut shared = tls.clone();
    shared.users.login_attribute = "displayName".into();
    let ann = refused(&shared, "Miller, Ann", PASSWORD).await;
    assert!(matches!(ann, LoginError::Misconfigured(_)), "{ann:?}");

    openldap_tells_why(&slapd, &tls).await;

    assert_eq!(
        search(&tls, "ali", None).await,
        [alice.principal.id.as_str()]
    );
    let found = search(&tls, "o", None).await;
    assert!(found.is_empty(), "one character is too little: {found:?}");
    let mut found = search(&tls, "o*", Some(PrincipalType::Group)).await;
    assert!(found.is_empty(), "an asterisk is a character: {found:?}");
    found = search(&tls, "op", Some(PrincipalType::Group)).await;
    assert_eq!(found, [operators.as_str()]);
    let everybody = search(&tls, "Mil", Some(PrincipalType::User)).await;
    assert_eq!(everybody.len(), NAMES.len());

    let Refreshed::Still(now) = refresh(&tls, &alice).await else {
        panic!("alice is there");
    };
    assert_eq!(ids(&now.groups), [&on_call, &operators]);
    // Groups in a circle.
    slapd
        .add_member("on-call", Member::Group("operators (all)"))
        .unwrap();
    let alice = log_in(&tls, "alice", PASSWORD).await.unwrap();
    assert_eq!(ids(&alice.groups), [&on_call, &operators]);
    slapd
        .remove_member("on-call", Member::Person("alice"))
        .unwrap();
    let Refreshed::Still(now) = refresh(&tls, &alice).await else {
        panic!("alice is there");
    };
    assert!(now.groups.is_empty(), "{now:?}");
    slapd.disable("alice").unwrap();
    assert_eq!(refresh(&tls, &alice).await, Refreshed::Gone);
    slapd.enable("alice").unwrap();
    assert!(matches!(refresh(&tls, &alice).await, Refreshed::Still(_)));
    // Somebody else gets the name.
    slapd.delete_person("alice").unwrap();
    assert_eq!(refresh(&tls, &alice).await, Refreshed::Gone);
    slapd.add_person(&people[0]).unwrap();
    assert_eq!(refresh(&tls, &alice).await, Refreshed::Gone);

    let mut several = tls.clone();
    several.servers.insert(0, "127.0.0.2".into());
    assert!(log_in(&several, "alice", PASSWORD).await.is_ok());
    slapd.pause().unwrap();
    is_silent(&tls).await;
    slapd.resume().unwrap();
    slapd.stop();
    is_silent(&tls).await;
    is_silent(&several).await;
    slapd.start().unwrap();
    assert!(log_in(&tls, "alice", PASSWORD).await.is_ok());
}

async fn openldap_tells_why(slapd: &Slapd, settings: &Settings) {
    slapd.disable("bob").unwrap();
    let why = refused(settings, "bob", PASSWORD).await;
    assert!(matches!(why, LoginError::Disabled), "{why:?}");
    slapd.enable("bob").unwrap();
    slapd.lock_out("carol").unwrap();
    let why = refused(settings, "carol", PASSWORD).await;
    assert!(matches!(why, LoginError::Locked), "{why:?}");
    slapd.expire_password("dave").unwrap();
    let why = refused(settings, "dave", PASSWORD).await;
    assert!(matches!(why, LoginError::PasswordExpired), "{why:?}");
    slapd.require_password_change("erin").unwrap();
    let why = refused(settings, "erin", PASSWORD).await;
    assert!(matches!(why, LoginError::MustChangePassword), "{why:?}");
    assert!(log_in(settings, "bob", PASSWORD).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn active_directory_proves_who_people_are() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("logins with Active Directory").unwrap();
    let (people, groups) = (&people()[..], &GROUPS[..]);
    let samba = testbed
        .samba(folder.path(), &Contents { people, groups })
        .unwrap();
    let tls = of_samba(&samba, &samba.url());
    let start_tls = of_samba(&samba, &samba.plain_url());

    let group = |name| format!("activedirectory_group://{}", samba.group_dn(name));
    // Everybody's primary group is one that no group's members tell of.
    let expected = [
        group("Domain Users"),
        group("on-call"),
        group("operators (all)"),
    ];
    for settings in [&tls, &start_tls] {
        for name in [
            "alice".to_owned(),
            samba.principal("alice"),
            r"CORP\alice".to_owned(),
        ] {
            let alice = log_in(settings, &name, PASSWORD).await.unwrap();
            let id = format!("activedirectory_user://{}", samba.person_dn("alice"));
            assert_eq!(alice.principal.id, id, "{name}");
            assert_eq!(alice.principal.login_name, "alice");
            assert_eq!(ids(&alice.groups), expected);
            assert_eq!(alice.stable_id.unwrap().len(), 36);
        }
    }
    let mut flat = tls.clone();
    flat.groups.nested = false;
    let alice = log_in(&flat, "alice", PASSWORD).await.unwrap();
    assert_eq!(ids(&alice.groups), [group("on-call")]);

    strangers_are_refused(&tls).await;
    wrong_settings_are_told(&tls).await;
    let mut clear = start_tls.clone();
    clear.security = Security::None;
    let why = refused(&clear, "alice", PASSWORD).await;
    assert!(
        matches!(&why, LoginError::Misconfigured(why) if why.contains("tls")),
        "{why:?}"
    );

    active_directory_tells_why(&samba, &tls).await;

    assert_eq!(
        search(&tls, "ali", None).await,
        [alice.principal.id.as_str()]
    );
    let found = search(&tls, "on-", Some(PrincipalType::Group)).await;
    assert_eq!(found, [group("on-call")]);

    samba
        .remove_member("on-call", Member::Person("alice"))
        .unwrap();
    let Refreshed::Still(now) = refresh(&tls, &alice).await else {
        panic!("alice is there");
    };
    assert_eq!(ids(&now.groups), [group("Domain Users")]);
    samba.disable("alice").unwrap();
    assert_eq!(refresh(&tls, &alice).await, Refreshed::Gone);
    samba.enable("alice").unwrap();
    samba.delete_person("alice").unwrap();
    assert_eq!(refresh(&tls, &alice).await, Refreshed::Gone);
    samba.add_person(&people[0]).unwrap();
    assert_eq!(refresh(&tls, &alice).await, Refreshed::Gone);

    samba.cut_off().unwrap();
    is_silent(&tls).await;
    samba.heal().unwrap();
    assert!(log_in(&tls, "alice", PASSWORD).await.is_ok());
    samba.stop().unwrap();
    is_silent(&tls).await;
}

async fn active_directory_tells_why(samba: &Samba, settings: &Settings) {
    samba.disable("bob").unwrap();
    let why = refused(settings, "bob", PASSWORD).await;
    assert!(matches!(why, LoginError::Disabled), "{why:?}");
    // Who does not know the password does not learn it.
    let why = refused(settings, "bob", "certainly wrong").await;
    assert!(matches!(why, LoginError::Wrong), "{why:?}");
    samba.lock_out("carol").unwrap();
    let why = refused(settings, "carol", PASSWORD).await;
    assert!(matches!(why, LoginError::Locked), "{why:?}");
    samba.expire_password("dave").unwrap();
    let why = refused(settings, "dave", PASSWORD).await;
    assert!(matches!(why, LoginError::PasswordExpired), "{why:?}");
    samba.require_password_change("erin").unwrap();
    let why = refused(settings, "erin", PASSWORD).await;
    assert!(matches!(why, LoginError::MustChangePassword), "{why:?}");
    samba.expire_account("frank").unwrap();
    let why = refused(settings, "frank", PASSWORD).await;
    assert!(matches!(why, LoginError::Disabled), "{why:?}");
}
