use proptest::prelude::*;
use tokio::io::duplex;

use super::super::message::tests::{element, entry, message, outcome};
use super::*;

const BIND_RESPONSE: u8 = 0x61;
const SEARCH_RESULT_DONE: u8 = 0x65;
const EXTENDED_RESPONSE: u8 = 0x78;
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection whose far end says this, whatever it is asked, and ends.
fn saying(bytes: Vec<u8>) -> Connection {
    let (near, mut far) = duplex(1024);
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(&mut far);
        let mut asked = tokio::io::sink();
        let listen = tokio::io::copy(&mut reader, &mut asked);
        let say = async {
            let _ = writer.write_all(&bytes).await;
            let _ = writer.shutdown().await;
        };
        let _ = tokio::join!(listen, say);
    });
    Connection::over(near, PATIENCE)
}

async fn bind(bytes: Vec<u8>) -> Result<Outcome, Failure> {
    let bound = saying(bytes).bind("cn=a", "secret", &[]).await;
    bound.map(|(outcome, _)| outcome)
}

async fn search(bytes: Vec<u8>, limit: usize) -> Result<Found, Failure> {
    let anything = Filter::anything();
    let mut connection = saying(bytes);
    connection
        .search("dc=x", Scope::Subtree, &anything, &["cn"], limit)
        .await
}

#[tokio::test]
async fn answers_come_in_any_pieces() {
    let found = [
        message(1, &entry("uid=ann", &[("cn", &[b"Ann"])])),
        // A reference to another directory.
        message(1, &element(0x73, &element(0x04, b"ldap://elsewhere"))),
        message(1, &entry("uid=bob", &[])),
        message(1, &outcome(SEARCH_RESULT_DONE, 0, "")),
    ];
    let found = search(found.concat(), 5).await.unwrap();
    let names: Vec<_> = found.entries.iter().map(|entry| &entry.dn).collect();
    assert_eq!(names, ["uid=ann", "uid=bob"]);
    assert!(!found.more);
}

#[tokio::test]
async fn more_than_was_asked_for_is_not_kept() {
    let mut found = message(1, &entry("uid=ann", &[])).repeat(100);
    found.extend(message(1, &outcome(SEARCH_RESULT_DONE, 0, "")));
    let found = search(found, 3).await.unwrap();
    assert_eq!(found.entries.len(), 3);
    assert!(found.more);
}

#[tokio::test]
async fn a_limit_of_the_directory_is_no_result() {
    let found = [
        message(1, &entry("uid=ann", &[])),
        message(1, &outcome(SEARCH_RESULT_DONE, 4, "")),
    ];
    let failure = search(found.concat(), 5).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(outcome) if outcome.code == 4));
}

#[tokio::test]
async fn what_never_ends_is_given_up() {
    let endless = message(1, &entry("uid=ann", &[("cn", &[&[b'a'; 60_000]])])).repeat(200);
    let failure = search(endless, 10).await.unwrap_err();
    assert!(matches!(failure, Failure::TooMuch), "{failure}");
    // Said to be a gigabyte: nothing of it is waited for.
    let failure = bind(vec![0x30, 0x84, 0x40, 0, 0, 0]).await.unwrap_err();
    assert!(matches!(failure, Failure::TooMuch), "{failure}");
}

#[tokio::test]
async fn pages_without_entries_do_not_go_on_for_ever() {
    let page = |id| {
        let cookie = [element(0x02, &[0]), element(0x04, b"next")].concat();
        let control = [
            element(0x04, PAGED_RESULTS.as_bytes()),
            element(0x04, &element(0x30, &cookie)),
        ];
        let controls = element(0xa0, &element(0x30, &control.concat()));
        message(id, &[outcome(SEARCH_RESULT_DONE, 0, ""), controls].concat())
    };
    let pages: Vec<u8> = (1..100).flat_map(page).collect();
    let failure = search(pages, 10).await.unwrap_err();
    assert!(matches!(failure, Failure::TooMuch), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_given_up_in_time() {
    let (near, _far) = duplex(1024);
    let mut connection = Connection::over(near, PATIENCE);
    let before = tokio::time::Instant::now();
    let failure = connection.bind("cn=a", "secret", &[]).await.unwrap_err();
    assert!(matches!(failure, Failure::TooSlow(PATIENCE)), "{failure}");
    assert_eq!(before.elapsed(), PATIENCE);
}

#[tokio::test]
async fn only_the_answer_to_the_request_counts() {
    let good = outcome(BIND_RESPONSE, 0, "");
    assert_eq!(bind(message(1, &good)).await.unwrap().code, 0);
    let failure = bind(message(2, &good)).await.unwrap_err();
    assert!(matches!(failure, Failure::Malformed(_)), "{failure}");
    let failure = bind(message(1, &outcome(SEARCH_RESULT_DONE, 0, ""))).await;
    assert!(matches!(failure, Err(Failure::Malformed(_))), "{failure:?}");
    let notice = message(0, &outcome(EXTENDED_RESPONSE, 52, ""));
    let failure = bind(notice).await.unwrap_err();
    assert!(matches!(failure, Failure::Ended), "{failure}");
    let failure = bind(Vec::new()).await.unwrap_err();
    assert!(matches!(failure, Failure::Ended), "{failure}");
}

#[tokio::test]
async fn nothing_is_believed_that_comes_before_tls() {
    let good = message(1, &outcome(EXTENDED_RESPONSE, 0, ""));
    assert!(saying(good.clone()).start_tls().await.is_ok());
    let injected = [good, message(2, &outcome(BIND_RESPONSE, 0, ""))].concat();
    let failure = saying(injected).start_tls().await.unwrap_err();
    assert!(matches!(failure, Failure::Malformed(_)), "{failure}");
    let refused = message(1, &outcome(EXTENDED_RESPONSE, 52, ""));
    let failure = saying(refused).start_tls().await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(_)), "{failure}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_hostile_directory_is_only_refused(bytes in any::<Vec<u8>>(), spoilt in any::<u8>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = bind(bytes.clone()).await;
            let _ = search(bytes.clone(), 3).await;
            let mut answer = message(1, &bytes);
            answer[7] = spoilt;
            let _ = search(answer, 3).await;
        });
    }
}
