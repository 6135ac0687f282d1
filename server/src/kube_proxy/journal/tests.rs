use super::*;

fn begin(journal: &Journal, cluster: &str, user: &str, path_and_query: &str) -> Course {
    let action = Action::parse(&http::Method::GET, path_and_query);
    let asked = Asked {
        id: &"1f".into(),
        trace: None,
        who: &Identity::for_test(user, false, None),
        method: &http::Method::GET,
        path_and_query,
        action: &action,
        class: Class::Interactive,
        now: Timestamp::UNIX_EPOCH,
    };
    journal.begin(&cluster.parse().unwrap(), asked)
}

fn paths(journal: &Journal, cluster: &str) -> Vec<String> {
    let requests = journal.of(&cluster.parse().unwrap(), None);
    requests.into_iter().map(|request| request.path).collect()
}

#[test]
fn a_cluster_has_its_last_requests() {
    let journal = Journal::default();
    for number in 0..=PER_CLUSTER {
        begin(&journal, "c-1", "u-1", &format!("/{number}"));
    }
    begin(&journal, "c-2", "u-1", "/other");
    let kept = paths(&journal, "c-1");
    assert_eq!(kept.len(), PER_CLUSTER);
    assert_eq!(kept.first().map(String::as_str), Some("/1"));
    assert_eq!(paths(&journal, "c-2"), ["/other"]);
    journal.forget(&"c-1".parse().unwrap());
    journal.forget(&"c-2".parse().unwrap());
    let kept = journal.lock();
    assert_eq!((kept.bytes, kept.all.len()), (0, 0));
}

#[test]
fn what_goes_on_is_kept_longer_than_what_is_over() {
    let journal = Journal::default();
    let watch = begin(&journal, "c-1", "u-1", "/watch");
    for number in 0..1000 {
        begin(&journal, "c-1", "u-1", &format!("/{number}")).end("");
    }
    let kept = paths(&journal, "c-1");
    assert_eq!((kept.len(), kept[0].as_str()), (PER_CLUSTER, "/watch"));
    watch.end("");
    begin(&journal, "c-1", "u-1", "/last");
    assert_eq!(paths(&journal, "c-1")[0], "/745");
}

#[test]
fn all_clusters_together_take_no_more_than_is_allowed() {
    let most = 64 * 1024;
    let journal = Journal::of_size(most);
    for number in 0..1000 {
        let cluster = format!("c-{}", number % 50);
        begin(&journal, &cluster, "u-1", &"/x".repeat(number + 1));
        let kept = journal.lock();
        assert!(kept.bytes <= most);
        let counted: usize = kept.all.values().map(|entry| entry.size()).sum();
        let listed: usize = kept.of_cluster.values().map(VecDeque::len).sum();
        assert_eq!((kept.bytes, kept.all.len()), (counted, listed));
    }
    // The newest are there, the oldest are not.
    assert!(!paths(&journal, "c-49").is_empty());
    assert!(journal.lock().all.len() < 100);
}

#[test]
fn one_user_s_requests_are_told_apart() {
    let journal = Journal::default();
    begin(&journal, "c-1", "u-1", "/a");
    begin(&journal, "c-1", "u-2", "/b");
    let cluster = "c-1".parse().unwrap();
    let own = journal.of(&cluster, Some(&"u-2".parse().unwrap()));
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].path, "/b");
}

#[test]
fn a_request_says_where_it_is() {
    let journal = Journal::default();
    let course = begin(&journal, "c-1", "u-1", "/a");
    let seen = || journal.of(&"c-1".parse().unwrap(), None).remove(0);
    assert!(seen().under_way && seen().session.is_empty());
    course.goes_over("s-1", Duration::from_millis(250));
    course.add_received(3);
    course.add_sent(5);
    course.answered();
    course.set_status(200);
    let request = seen();
    assert_eq!((request.received_bytes, request.sent_bytes), (3, 5));
    assert_eq!(request.waited_milliseconds, Some(250.0));
    assert_eq!((request.status, &*request.session), (Some(200), "s-1"));
    assert!(request.answered_milliseconds.is_some() && request.under_way);
    course.end(&"ä".repeat(LONGEST_ERROR));
    let request = seen();
    assert!(!request.under_way && request.error.len() <= LONGEST_ERROR);
}

#[test]
fn what_may_be_a_secret_is_not_kept() {
    for (path, expected) in [
        (
            "/api/v1/pods?watch=true&labelSelector=a%3Db",
            "/api/v1/pods?watch=true&labelSelector=(hidden)",
        ),
        (
            "/api/v1/namespaces/a/pods/p/exec?command=SECRET&container=c&SECRET",
            "/api/v1/namespaces/a/pods/p/exec?command=(hidden)&container=(hidden)&(hidden)",
        ),
        (
            "/api/v1/namespaces/a/services/s/proxy/reset/SECRET?token=SECRET",
            "/api/v1/namespaces/a/services/s/proxy/(hidden)?token=(hidden)",
        ),
        ("/api/v1/namespaces/a/services/s/%70roxy/SECRET", "(hidden)"),
        (
            "/api/v1/namespaces/proxy/pods",
            "/api/v1/namespaces/proxy/pods",
        ),
        ("/", "/"),
    ] {
        let action = Action::parse(&http::Method::GET, path);
        assert_eq!(shown(path, &action), expected);
    }
}
