//! A real domain controller tells good accounts from bad ones, knows nested groups, and comes
//! back. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::ErrorKind, net::TcpStream, time::Duration};

use testbed::{
    Testbed,
    directory::{Contents, Credentials, Group, LdapClient, Member, Person},
    samba::{BASE, NETBIOS_NAME, Samba},
};

const PASSWORD: &str = "0pen, Sesame";

/// One test, because each step takes milliseconds and a domain seconds.
#[test]
fn a_domain_is_asked_changed_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of samba").unwrap();
    let contents = Contents {
        people: &["alice", "bob", "carol", "dave", "erin"].map(|name| Person {
            name,
            full_name: "Miller, Ann",
            password: PASSWORD,
        }),
        groups: &[
            Group {
                name: "on-call",
                members: &[Member::Person("alice")],
            },
            Group {
                name: "operators",
                members: &[Member::Group("on-call")],
            },
        ],
    };
    let domain = testbed.samba(folder.path(), &contents).unwrap();

    people_are_let_in_by_each_of_their_names(&domain);
    a_password_in_the_clear_is_refused(&domain);
    the_controller_says_why_it_refuses(&domain);
    passwords_change(&domain);
    groups_are_nested_and_change(&domain);
    it_stops_and_comes_back(&domain);
}

fn credentials(name: String) -> Credentials {
    Credentials {
        name,
        password: PASSWORD.into(),
    }
}

fn people_are_let_in_by_each_of_their_names(domain: &Samba) {
    let start_tls = LdapClient::new(&domain.plain_url(), &domain.ca_file())
        .unwrap()
        .with_start_tls();
    for name in [
        domain.principal("alice"),
        format!("{NETBIOS_NAME}\\alice"),
        domain.person_dn("alice"),
    ] {
        for client in [domain.client(), &start_tls] {
            let answer = client.bind(&credentials(name.clone()), false).unwrap();
            assert_eq!(answer.code, Some(0), "{name}: {}", answer.text);
        }
    }
    assert_eq!(refusal(domain, "nobody", PASSWORD), "52e");
    assert_eq!(refusal(domain, "alice", "0pen, Window"), "52e");
}

fn a_password_in_the_clear_is_refused(domain: &Samba) {
    let clear = LdapClient::new(&domain.plain_url(), &domain.ca_file()).unwrap();
    let alice = credentials(domain.principal("alice"));
    let answer = clear.bind(&alice, false).unwrap();
    assert_eq!(answer.code, Some(8), "{}", answer.text);
}

fn the_controller_says_why_it_refuses(domain: &Samba) {
    domain.disable("bob").unwrap();
    assert_eq!(refusal(domain, "bob", PASSWORD), "533");
    assert_eq!(refusal(domain, "bob", "0pen, Window"), "52e");
    domain.enable("bob").unwrap();
    welcome(domain, "bob", PASSWORD);

    domain.lock_out("bob").unwrap();
    assert_eq!(refusal(domain, "bob", PASSWORD), "775");
    domain.unlock("bob").unwrap();
    welcome(domain, "bob", PASSWORD);

    domain.expire_password("carol").unwrap();
    assert_eq!(refusal(domain, "carol", PASSWORD), "532");
    domain.require_password_change("dave").unwrap();
    assert_eq!(refusal(domain, "dave", PASSWORD), "773");
    domain.expire_account("erin").unwrap();
    assert_eq!(refusal(domain, "erin", PASSWORD), "701");
}

fn passwords_change(domain: &Samba) {
    domain.set_password("carol", "0pen, Window").unwrap();
    welcome(domain, "carol", "0pen, Window");
    let too_short = domain.set_password("carol", "open").unwrap_err();
    assert!(too_short.to_string().contains("password"), "{too_short}");
}

fn groups_are_nested_and_change(domain: &Samba) {
    let alice = domain.person_dn("alice");
    let operators = domain.group_dn("operators");
    let is_operator = |who: &str| {
        let filter = format!("(memberOf:1.2.840.113556.1.4.1941:={operators})");
        (domain.client())
            .search(&domain.reader(), who, &filter, &["cn"])
            .unwrap()
            .contains("cn: ")
    };
    assert!(is_operator(&alice));
    let direct = (domain.client())
        .search(&domain.reader(), &alice, "(cn=*)", &["memberOf"])
        .unwrap();
    assert!(!direct.contains(&operators), "{direct}");

    (domain.remove_member("on-call", Member::Person("alice"))).unwrap();
    assert!(!is_operator(&alice));
    (domain.add_member("operators", Member::Person("alice"))).unwrap();
    assert!(is_operator(&alice));
    domain.delete_group("operators").unwrap();
    assert!(!is_operator(&alice));

    domain.delete_person("erin").unwrap();
    let everybody = (domain.client())
        .search(&domain.reader(), BASE, "(userPrincipalName=*)", &["cn"])
        .unwrap();
    assert_eq!(everybody.matches("\ncn: ").count(), 4, "{everybody}");
}

fn it_stops_and_comes_back(domain: &Samba) {
    domain.stop().unwrap();
    let answer = domain.bind("alice", PASSWORD).unwrap();
    assert_eq!(answer.code, None, "{}", answer.text);
    domain.start().unwrap();
    welcome(domain, "alice", PASSWORD);
    domain.cut_off().unwrap();
    let port = (domain.address(), 636).into();
    let error = TcpStream::connect_timeout(&port, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    domain.heal().unwrap();
    welcome(domain, "alice", PASSWORD);
}

fn welcome(domain: &Samba, name: &str, password: &str) {
    let answer = domain.bind(name, password).unwrap();
    assert_eq!(answer.code, Some(0), "{name}: {}", answer.text);
}

/// What stands behind `data` in the answer to a bind that is refused.
fn refusal(domain: &Samba, name: &str, password: &str) -> String {
    let answer = domain.bind(name, password).unwrap();
    assert_eq!(answer.code, Some(49), "{name}: {}", answer.text);
    let (_, rest) = answer.text.split_once(", data ").unwrap();
    rest.split(',').next().unwrap().to_owned()
}
