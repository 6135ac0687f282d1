//! What is taken from where, and what is told of mistakes.

use super::super::{Config, LogFormat, StoreChoice};
use super::*;
use proptest::prelude::*;

fn collect(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> Sources {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    Sources::collect(
        arguments.iter().map(|argument| (*argument).to_owned()),
        |name| environment.get(name).map(|value| (*value).to_owned()),
        |_| Ok(file.to_owned()),
    )
}

fn mistakes(sources: &Sources) -> Vec<String> {
    let mistakes = Config::new(sources).unwrap_err();
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_needs_to_be_configured() {
    let config = Config::new(&collect(&[], &[], "")).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8443");
    assert_eq!(config.server_url.as_str(), "https://localhost:8443/");
    assert!(config.tls_files.is_none());
}

#[test]
fn flags_win_over_environment_over_file() {
    let file = "listen = '127.0.0.1:3'\nlog_format = 'json'\nmax-connections = 7\n";
    let environment = [("LARIAT_LISTEN", "127.0.0.1:2"), ("LARIAT_LOG", "debug")];
    let config = Config::new(&collect(&["--listen=127.0.0.1:1"], &environment, file)).unwrap();
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.log, "debug");
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.limits.connections, 7);
    let config = Config::new(&collect(&[], &environment, file)).unwrap();
    assert_eq!(config.listen.port(), 2);
}

#[test]
fn every_mistake_is_reported_in_one_run() {
    let sources = collect(
        &[
            "--listen",
            "nowhere",
            "--colour=red",
            "surplus",
            "--log-format",
        ],
        &[
            ("LARIAT_DRAIN_TIMEOUT", "soon"),
            ("LARIAT_TLS_CERT_FILE", "/cert"),
        ],
        "max_connections = 0\nunknown = 1\nlog = {}\n",
    );
    let mistakes = mistakes(&sources);
    for expected in [
        "--colour: is not a setting",
        "\"surplus\": is not understood",
        "--log-format: needs a value",
        "unknown in /etc/lariat/server.toml: is not a setting",
        "log in /etc/lariat/server.toml: must be FILTER",
        "--listen: \"nowhere\" is not ADDRESS:PORT",
        "LARIAT_DRAIN_TIMEOUT: \"soon\" must be a duration",
        "tls-key-file: is needed with tls-cert-file",
        "max_connections in /etc/lariat/server.toml: \"0\" must be a number",
    ] {
        let found = mistakes.iter().any(|mistake| mistake.starts_with(expected));
        assert!(found, "{expected} is not in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 9, "{mistakes:#?}");
}

#[test]
fn an_etcd_is_described_whole_or_every_gap_is_told() {
    let endpoints = "--etcd-endpoints=https://a:2379, https://b:2379/";
    let tls = ["--store=etcd", endpoints, "--etcd-ca-file=/ca"];
    let config = Config::new(&collect(&tls, &[], "")).unwrap();
    let StoreChoice::Etcd(etcd) = config.store else {
        panic!("{:?}", config.store);
    };
    assert_eq!(etcd.endpoints, ["https://a:2379", "https://b:2379"]);
    assert_eq!((etcd.prefix.as_str(), etcd.identity), ("/lariat", None));
    let file = "store = 'etcd'\netcd_endpoints = ['http://a:1', 'http://b:1']\n";
    assert!(Config::new(&collect(&[], &[], file)).is_ok());

    let told = |arguments: &[&str]| {
        let mut told = mistakes(&collect(arguments, &[], ""));
        told.sort();
        told
    };
    let needed = "etcd-endpoints: is needed with the store etcd";
    let gaps = [
        "--store=etcd",
        "--etcd-user=u",
        "--etcd-key-file=/k",
        "--etcd-prefix=x",
    ];
    assert_eq!(
        told(&gaps),
        [
            "--etcd-prefix: \"x\" must begin with a slash, not end with one, and have at most \
             64 bytes",
            "etcd-cert-file: is needed with etcd-key-file",
            needed,
            "etcd-password-file: is needed with etcd-user",
        ]
    );
    let without_ca = ["--store=etcd", "--etcd-endpoints=https://a:1"];
    assert_eq!(
        told(&without_ca),
        ["etcd-ca-file: is needed with etcd-endpoints that are https"]
    );
    let not_secure = [
        "--store=etcd",
        "--etcd-endpoints=http://a:1",
        "--etcd-ca-file=/c",
    ];
    assert_eq!(
        told(&not_secure),
        ["etcd-endpoints: must be https, as certificates are given"]
    );
    for (arguments, expected) in [
        (
            ["--store=sqlite", "--listen=[::]:1"],
            "--store: \"sqlite\" must be redb or etcd",
        ),
        (
            ["--store=redb", "--etcd-prefix=/x"],
            "--etcd-prefix: is for the store etcd, and store is redb",
        ),
        (
            ["--store=etcd", "--etcd-endpoints=http://a:1,https://b:1"],
            "--etcd-endpoints: must be all https or all http",
        ),
        (
            ["--store=etcd", "--etcd-endpoints=a:1"],
            "--etcd-endpoints: \"a:1\" must be https://HOST:PORT or http://HOST:PORT",
        ),
    ] {
        assert_eq!(told(&arguments), [expected]);
    }
}

#[test]
fn traces_have_the_names_of_their_specification_and_are_off_without_a_collector() {
    let traces = |environment: &[(&str, &str)], file: &str| {
        Config::new(&collect(&[], environment, file)).map(|config| config.traces)
    };
    // They may be there for another program.
    let other = [("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "xray")];
    assert!(traces(&other, "").unwrap().is_none());
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a.example/otlp");
    let all = traces(&[collector], "").unwrap().unwrap();
    assert_eq!(all.url().as_str(), "https://a.example/otlp/v1/traces");
    assert_eq!(all.service_name, "lariat-server");
    assert!(all.sampling.parent_based && all.foreign_per_second == Some(10));
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2,other");
    let file = "traces_sampler = 'traceidratio'\ntraces_sampler_arg = 0.25\n";
    let some = traces(&[collector], file).unwrap().unwrap();
    assert_eq!(
        (some.sampling.ratio, some.sampling.parent_based),
        (0.25, false)
    );
    let faults = traces(&[collector, other[1], secret], "traces_sampler_arg = 2\n").unwrap_err();
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    for place in [
        "OTEL_TRACES_SAMPLER: ",
        "OTEL_EXPORTER_OTLP_HEADERS: must be NAME=VALUE",
        "traces_sampler_arg in ",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(place)),
            "{faults:?}"
        );
    }
    assert!(!faults.concat().contains("hunter2"), "{faults:?}");
    let flag = mistakes(&collect(&["--otlp-headers=key=hunter2"], &[], ""));
    assert!(flag[0].contains("OTEL_EXPORTER_OTLP_HEADERS"), "{flag:?}");
    assert!(!flag.concat().contains("hunter2"), "{flag:?}");
}

#[test]
fn a_password_is_neither_taken_from_a_flag_nor_shown() {
    for arguments in [
        &["--bootstrap-password", "short"][..],
        &["--bootstrap-password=short"],
    ] {
        let mistakes = mistakes(&collect(arguments, &[], ""));
        assert!(mistakes[0].contains("LARIAT_BOOTSTRAP_PASSWORD"));
        assert!(!mistakes.concat().contains("short"));
    }
    let sources = collect(&[], &[("LARIAT_BOOTSTRAP_PASSWORD", "hunter2")], "");
    let mistakes = mistakes(&sources);
    assert_eq!(
        mistakes,
        ["LARIAT_BOOTSTRAP_PASSWORD: must have at least 12 characters"]
    );
    let broken = mistakes_of_file("bootstrap_password = 'hunter2\n");
    assert!(!broken.concat().contains("hunter2"), "{broken:?}");
}

#[test]
fn a_backup_has_a_file_and_only_restore_overwrites() {
    let command = |arguments: &[&str]| collect(arguments, &[], "").command;
    let file = PathBuf::from("f");
    assert_eq!(
        command(&["backup", "f"]),
        Command::Backup { file: file.clone() }
    );
    let overwrite = true;
    let restore = Command::Restore { file, overwrite };
    assert_eq!(command(&["restore", "f", "--overwrite"]), restore);
    for wrong in [
        &["backup"][..],
        &["restore"],
        &["backup", "f", "--overwrite"],
    ] {
        assert_eq!(mistakes(&collect(wrong, &[], "")).len(), 1, "{wrong:?}");
    }
}

#[test]
fn keys_have_commands_and_what_deletes_is_confirmed() {
    let command = |arguments: &[&str]| collect(arguments, &[], "").command;
    assert_eq!(command(&["keys", "list"]), Command::Keys(KeysCommand::List));
    let discard = ["keys", "discard", "--yes"];
    assert_eq!(command(&discard), Command::Keys(KeysCommand::Discard));
    assert!(Config::new(&collect(&discard, &[], "")).is_ok());
    for help in [
        &["keys"][..],
        &["keys", "--help"],
        &["keys", "rotate", "-h"],
    ] {
        assert_eq!(command(help), Command::KeysHelp, "{help:?}");
    }
    for wrong in [
        &["keys", "discard"][..],
        &["keys", "turn"],
        &["keys", "rotate", "--yes"],
    ] {
        assert_eq!(mistakes(&collect(wrong, &[], "")).len(), 1, "{wrong:?}");
    }
}

fn mistakes_of_file(text: &str) -> Vec<String> {
    mistakes(&collect(&[], &[], text))
}

#[test]
fn a_file_that_is_named_must_exist() {
    let missing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let sources = Sources::collect(["--config=/x".to_owned()], |_| None, missing);
    assert!(mistakes(&sources)[0].starts_with("--config: cannot read /x"));
    let sources = Sources::collect([], |_| None, missing);
    assert!(Config::new(&sources).is_ok());
}

proptest! {
    #[test]
    fn no_input_panics(arguments: Vec<String>, file: String) {
        let sources = Sources::collect(arguments, |_| None, |_| Ok(file.clone()));
        let _ = Config::new(&sources);
    }
}
