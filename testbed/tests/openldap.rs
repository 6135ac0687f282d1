//! A real slapd tells good accounts from bad ones, knows nested groups, and comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use testbed::{
    Testbed,
    directory::{Contents, Credentials, Group, LdapClient, Member, Person},
    slapd::{BASE, Slapd},
};

const INVALID_CREDENTIALS: Option<i32> = Some(49);
const INSUFFICIENT_ACCESS: &str = "Insufficient access (50)";

/// A BindRequest of version 3 without name and password.
const ANONYMOUS_BIND: &[u8] = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00";

fn person(name: &'static str) -> Person<'static> {
    Person {
        name,
        full_name: "Miller, Ann",
        password: "sesame, open",
    }
}

/// One test, because each step takes milliseconds and a directory most of a second.
#[test]
fn a_directory_is_asked_changed_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of slapd").unwrap();
    let contents = Contents {
        people: &["alice", "bob", "Zoë #1"].map(person),
        groups: &[
            Group {
                name: "on-call",
                members: &[Member::Person("alice")],
            },
            Group {
                name: "operators",
                members: &[Member::Group("on-call"), Member::Person("Zoë #1")],
            },
        ],
    };
    let directory = testbed.slapd(folder.path(), &contents).unwrap();

    people_are_let_in_by_their_passwords(&directory);
    every_way_of_transport_is_there(&directory);
    the_server_says_why_it_refuses(&directory);
    passwords_change(&directory);
    groups_are_nested_and_change(&directory);
    it_stops_and_comes_back(&directory);

    drop(directory);
    let left = fs::read_to_string(folder.path().join("slapd.log")).unwrap();
    assert!(left.contains("slapd starting"), "{left}");
}

fn people_are_let_in_by_their_passwords(directory: &Slapd) {
    for name in ["alice", "bob", "Zoë #1"] {
        let answer = directory.bind(name, "sesame, open").unwrap();
        assert_eq!(answer.code, Some(0), "{name}: {}", answer.text);
    }
    for (name, password) in [("alice", "sesame"), ("nobody", "sesame, open")] {
        let answer = directory.bind(name, password).unwrap();
        assert_eq!(answer.code, INVALID_CREDENTIALS, "{name}: {}", answer.text);
        assert!(!answer.text.contains("locked"), "{}", answer.text);
    }
}

fn every_way_of_transport_is_there(directory: &Slapd) {
    let authority = directory.ca_file();
    let plain = LdapClient::new(directory.plain_url(), &authority).unwrap();
    let started = plain.clone().with_start_tls();
    for client in [directory.client(), &plain, &started] {
        let answer = client.bind(&directory.reader(), true).unwrap();
        assert_eq!(answer.code, Some(0), "{client:?}: {}", answer.text);
    }
    // The system's own authorities did not sign it.
    let stranger = LdapClient::new(directory.url(), "/etc/ssl/certs/none".as_ref()).unwrap();
    let answer = stranger.bind(&directory.reader(), true).unwrap();
    assert_eq!(answer.code, None, "{}", answer.text);
    let anonymous = Credentials {
        name: String::new(),
        password: String::new(),
    };
    let answer = directory.client().bind(&anonymous, true).unwrap();
    assert_ne!(answer.code, Some(0), "{}", answer.text);
}

fn the_server_says_why_it_refuses(directory: &Slapd) {
    let refusal = |name: &str| {
        let answer = directory.bind(name, "sesame, open").unwrap();
        assert_eq!(answer.code, INVALID_CREDENTIALS, "{}", answer.text);
        answer.text
    };

    directory.disable("bob").unwrap();
    assert!(refusal("bob").contains("Account locked"));
    directory.enable("bob").unwrap();
    assert_eq!(directory.bind("bob", "sesame, open").unwrap().code, Some(0));

    directory.lock_out("bob").unwrap();
    assert!(refusal("bob").contains("Account locked"));
    directory.enable("bob").unwrap();
    assert_eq!(directory.bind("bob", "sesame, open").unwrap().code, Some(0));

    directory.expire_password("bob").unwrap();
    assert!(refusal("bob").contains("Password expired"));
    directory.set_password("bob", "another").unwrap();

    directory.require_password_change("bob").unwrap();
    let answer = directory.bind("bob", "another").unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.text);
    assert!(answer.text.contains("Password must be changed"));
    let bob = Credentials {
        name: directory.person_dn("bob"),
        password: "another".into(),
    };
    let searched = directory.client().search(&bob, &bob.name, "(uid=*)", &[]);
    let error = searched.unwrap_err().to_string();
    assert!(error.contains(INSUFFICIENT_ACCESS), "{error}");
}

fn passwords_change(directory: &Slapd) {
    directory.set_password("alice", "changed").unwrap();
    assert_eq!(directory.bind("alice", "changed").unwrap().code, Some(0));
    let old = directory.bind("alice", "sesame, open").unwrap();
    assert_eq!(old.code, INVALID_CREDENTIALS);
    directory.set_password("alice", "sesame, open").unwrap();
}

fn groups_are_nested_and_change(directory: &Slapd) {
    let member_of = |dn: &str| {
        (directory.client())
            .search(&directory.reader(), dn, "(objectClass=*)", &["memberOf"])
            .unwrap()
    };
    let (alice, on_call) = (directory.person_dn("alice"), directory.group_dn("on-call"));
    let operators = directory.group_dn("operators");
    assert!(member_of(&alice).contains(&format!("memberOf: {on_call}\n")));
    assert!(member_of(&on_call).contains(&format!("memberOf: {operators}\n")));

    (directory.remove_member("on-call", Member::Person("alice"))).unwrap();
    assert!(!member_of(&alice).contains("memberOf"));
    (directory.add_member("operators", Member::Person("alice"))).unwrap();
    assert!(member_of(&alice).contains(&operators));
    directory.delete_group("operators").unwrap();
    assert!(!member_of(&alice).contains("memberOf"));

    directory.delete_person("bob").unwrap();
    let gone = directory.bind("bob", "another").unwrap();
    assert_eq!(gone.code, INVALID_CREDENTIALS, "{}", gone.text);
    let everybody = (directory.client())
        .search(&directory.reader(), BASE, "(uid=*)", &["uid"])
        .unwrap();
    assert_eq!(everybody.matches("\nuid:").count(), 2, "{everybody}");
    assert!(!everybody.contains("userPassword"), "{everybody}");
}

fn it_stops_and_comes_back(directory: &Slapd) {
    directory.stop();
    let answer = directory.bind("alice", "sesame, open").unwrap();
    assert_eq!(answer.code, None, "{}", answer.text);
    directory.start().unwrap();
    let answer = directory.bind("alice", "sesame, open").unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.text);

    let address = directory.plain_url().strip_prefix("ldap://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    directory.pause().unwrap();
    stream.write_all(ANONYMOUS_BIND).unwrap();
    let limit = Some(Duration::from_millis(200));
    stream.set_read_timeout(limit).unwrap();
    let mut answer = [0; 1];
    let error = stream.read_exact(&mut answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    directory.resume().unwrap();
    stream.set_read_timeout(None).unwrap();
    stream.read_exact(&mut answer).unwrap();
}
