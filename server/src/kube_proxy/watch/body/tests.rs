//! Watches over answers that break off as a script says, in virtual time.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use serde_json::json;

use super::super::course::PATIENCE;
use super::*;

const PODS: &str = "/api/v1/pods?watch=true&resourceVersion=7";

/// What an answer does next. At its end it stays open.
enum Step {
    Data(Vec<u8>),
    Break,
    End,
}

use Step::{Break, Data, End};

struct Scripted {
    steps: VecDeque<Step>,
    leaves: Option<Instant>,
}

impl HttpBody for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.steps.pop_front() {
            Some(Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            Some(Break) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
            Some(End) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Answer for Scripted {
    fn is_leaving(&self) -> bool {
        self.leaves.is_some_and(|leaves| leaves <= Instant::now())
    }
}

/// Replies one after the other, then never again; remembers what was asked.
#[derive(Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply<Scripted>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Source for Script {
    type Body = Scripted;

    fn ask(&self, again: Again) -> BoxFuture<'static, Reply<Scripted>> {
        let script = self.clone();
        Box::pin(async move {
            let now = Instant::now().into_std();
            let Some(asked) = again.path_and_query(now) else {
                return Reply::Over;
            };
            script.asked.lock().unwrap().push(asked.into_owned());
            let reply = script.replies.lock().unwrap().pop_front();
            match reply {
                Some(reply) => reply,
                None => std::future::pending().await,
            }
        })
    }
}

fn steps(steps: impl IntoIterator<Item = Step>) -> Scripted {
    Scripted {
        steps: steps.into_iter().collect(),
        leaves: None,
    }
}

fn goes_on(with: impl IntoIterator<Item = Step>) -> Reply<Scripted> {
    Reply::GoesOn(steps(with))
}

/// How a watch went: what the client was sent, whether it ended in order, and what was asked.
#[derive(Debug, PartialEq, Eq)]
struct Went {
    told: String,
    in_order: bool,
    asked: Vec<String>,
}

struct Played {
    went: Went,
    watches: Watches,
}

impl Played {
    fn count(&self, outcome: Outcome) -> u64 {
        let label = super::super::OutcomeLabel { outcome };
        self.watches.resumed.get_or_create(&label).get()
    }
}

async fn play(
    path: &str,
    first: Scripted,
    replies: impl IntoIterator<Item = Reply<Scripted>>,
) -> Played {
    let script = Script::default();
    script.replies.lock().unwrap().extend(replies);
    let watches = Watches::default();
    let mut watch = Watch::new(
        watches.clone(),
        script.clone(),
        Asked::new(path),
        Format::Json,
        first,
    );
    let mut told = Vec::new();
    let in_order = loop {
        match watch.frame().await {
            Some(Ok(frame)) => told.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    drop(watch);
    assert_eq!(watches.held.gauge().get(), 0);
    let asked = script.asked.lock().unwrap().clone();
    let told = String::from_utf8(told).unwrap();
    Played {
        went: Went {
            told,
            in_order,
            asked,
        },
        watches,
    }
}

fn event(version: &str) -> String {
    let object = json!({"metadata": {"resourceVersion": version}});
    format!("{}\n", json!({"type": "ADDED", "object": object}))
}

fn data(text: impl Into<String>) -> Step {
    Data(text.into().into_bytes())
}

fn went(told: impl Into<String>, in_order: bool, asked: &[&str]) -> Went {
    Went {
        told: told.into(),
        in_order,
        asked: asked.iter().map(ToString::to_string).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_behind_the_last_whole_event() {
    let half = &event("9")[..20];
    let first = steps([data(event("8") + half), Break]);
    let second = [data(event("9")), data(&event("10")[..5]), Break];
    let third = [data(event("10")), End];
    let played = play(PODS, first, [goes_on(second), goes_on(third)]).await;
    let told = event("8") + &event("9") + &event("10");
    let asked = [
        "/api/v1/pods?watch=true&resourceVersion=8",
        "/api/v1/pods?watch=true&resourceVersion=9",
    ];
    assert_eq!(played.went, went(told, true, &asked));
    assert_eq!(played.count(Outcome::Resumed), 2);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_event_it_is_asked_for_as_it_was() {
    for path in [PODS, "/api/v1/pods?sendInitialEvents=true&watch=true"] {
        let first = steps([data(&event("8")[..5]), Break]);
        let played = play(path, first, [goes_on([data(event("8")), End])]).await;
        assert_eq!(played.went, went(event("8"), true, &[path]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_remembers_too_little_is_believed() {
    let played = play(PODS, steps([data(event("8")), Break]), [Reply::Expired]).await;
    let expired = expired::event(Format::Json).unwrap();
    let told = event("8") + std::str::from_utf8(&expired).unwrap();
    let asked = ["/api/v1/pods?watch=true&resourceVersion=8"];
    assert_eq!(played.went, went(told, true, &asked));
    assert_eq!(played.count(Outcome::Expired), 1);
    // It may also say so in its own words, behind which nothing comes.
    let error = format!("{}\n", json!({"type": "ERROR", "object": {"code": 410}}));
    let second = goes_on([data(error.clone()), Break]);
    let played = play(PODS, steps([data(event("8")), Break]), [second]).await;
    assert_eq!(played.went, went(event("8") + &error, false, &asked));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_in_order_is_over_unless_its_session_is_leaving() {
    let half = &event("9")[..20];
    let played = play(PODS, steps([data(event("8") + half), End]), []).await;
    assert_eq!(played.went, went(event("8") + half, true, &[]));
    // Which may be known a moment later.
    for later in [Duration::ZERO, MOMENT / 2] {
        let mut first = steps([data(event("8") + half), End]);
        first.leaves = Some(Instant::now() + later);
        let played = play(PODS, first, [goes_on([data(event("9")), End])]).await;
        let asked = ["/api/v1/pods?watch=true&resourceVersion=8"];
        assert_eq!(played.went, went(event("8") + &event("9"), true, &asked));
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_the_state_it_ends_as_the_answer_does() {
    let pods = "/api/v1/pods?watch=true";
    let played = play(pods, steps([data(event("8")), Break]), []).await;
    assert_eq!(played.went, went(event("8"), false, &[]));
    assert_eq!(played.count(Outcome::Unknown), 1);
    let mut first = steps([data(event("8")), End]);
    first.leaves = Some(Instant::now());
    assert_eq!(
        play(pods, first, []).await.went,
        went(event("8"), true, &[])
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_session_it_ends_in_order_when_patience_does() {
    let began = Instant::now();
    let played = play(PODS, steps([data(event("8")), Break]), []).await;
    let asked = ["/api/v1/pods?watch=true&resourceVersion=8"];
    assert_eq!(played.went, went(event("8"), true, &asked));
    assert_eq!(played.count(Outcome::GivenUp), 1);
    let took = began.elapsed();
    let limit = PATIENCE + Duration::from_secs(1);
    assert!((PATIENCE..limit).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_busy_cluster_is_asked_again_and_one_that_refuses_is_not() {
    let later = || Reply::Later(Duration::from_secs(3));
    let began = Instant::now();
    let replies = [
        later(),
        later(),
        goes_on([data(event("8")), Break]),
        Reply::Refused,
    ];
    let played = play(PODS, steps([Break]), replies).await;
    let asked = [7, 7, 7, 8].map(|last| format!("/api/v1/pods?watch=true&resourceVersion={last}"));
    let asked = asked.each_ref().map(String::as_str);
    assert_eq!(played.went, went(event("8"), true, &asked));
    assert!(began.elapsed() >= Duration::from_secs(6));
    let counts = [Outcome::Resumed, Outcome::Refused].map(|outcome| played.count(outcome));
    assert_eq!(counts, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn answers_that_bring_nothing_are_given_up() {
    let replies = (0..100).map(|_| goes_on([Break]));
    let played = play(PODS, steps([Break]), replies).await;
    assert!(played.went.in_order && played.went.asked.len() < 20);
    assert_eq!(played.count(Outcome::GivenUp), 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_the_client_wants_is_not_exceeded() {
    let pods = format!("{PODS}&timeoutSeconds=10");
    let played = play(&pods, steps([data(event("8")), Break]), [goes_on([End])]).await;
    let asked = ["/api/v1/pods?watch=true&resourceVersion=8&timeoutSeconds=9"];
    assert_eq!(played.went, went(event("8"), true, &asked));
    let pods = format!("{PODS}&timeoutSeconds=1");
    let played = play(&pods, steps([Break]), [goes_on([data(event("8"))])]).await;
    assert_eq!(played.went, went("", true, &[]));
}
