//! Answers without frames: the same to who asks as by HTTP, in all ways in which an answer can end.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use bytes::Bytes;
use futures::{StreamExt as _, channel::mpsc};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io};
use support::{pair, serve_streams, within};
use tokio_util::task::TaskTracker;
use tunnel::{
    http::{AnswerBody, Asker, StreamClient, ask_unframed, client},
    session::Session,
};
use tunnel_proto::stream::{Class, Target};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Pieces = mpsc::Sender<io::Result<Frame<Bytes>>>;

/// An API server behind an agent, and whom the server asks by.
struct Asked {
    client: StreamClient<Empty<Bytes>>,
    /// The answers to `/watch` that have begun.
    begun: mpsc::Receiver<Pieces>,
    tasks: TaskTracker,
    _sessions: (Session, Session),
}

impl Asked {
    /// `knows`: whether the agent knows of unframed answers.
    async fn start(knows: bool) -> Self {
        let (server, agent) = pair().await;
        let tasks = TaskTracker::new();
        let (begins, begun) = mpsc::channel(8);
        let serving = tasks.clone();
        serve_streams(&agent, move |incoming| {
            let (tasks, begins) = (serving.clone(), begins.clone());
            async move {
                let stream = incoming.preamble().await.unwrap().accept().await.unwrap();
                let service = service_fn(move |mut request| {
                    let asker = knows.then(|| Asker::of(&mut request));
                    let response = respond(&request, &mut begins.clone());
                    let response = match asker {
                        Some(asker) => asker.answer(response, &tasks),
                        None => response,
                    };
                    async { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            }
        });
        Self {
            client: client(server.clone(), Target::KubeApi, Class::Watch),
            begun,
            tasks,
            _sessions: (server, agent),
        }
    }

    async fn ask(&self, path: &str) -> Response<AnswerBody> {
        let request = Request::get(format!("http://cluster{path}"));
        let request = request.body(Empty::new()).unwrap();
        let answer = within(ask_unframed(&self.client, request)).await.unwrap();
        for name in [header::UPGRADE, header::CONNECTION] {
            assert!(!answer.headers().contains_key(name));
        }
        answer
    }

    async fn watch(&mut self) -> (Pieces, AnswerBody) {
        let answer = self.ask("/watch").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        (self.begun.next().await.unwrap(), answer.into_body())
    }

    /// Waits until nobody sends anything any more.
    async fn is_still(&self) {
        self.tasks.close();
        within(self.tasks.wait()).await;
    }
}

fn respond(request: &Request<Incoming>, begins: &mut mpsc::Sender<Pieces>) -> Response<Body> {
    let short = |text: &'static str| {
        Full::from(text)
            .map_err(|never| match never {})
            .boxed_unsync()
    };
    let answer = Response::builder();
    match request.uri().path() {
        "/watch" => {
            let (pieces, body) = mpsc::channel(8);
            begins.try_send(pieces).unwrap();
            let answer = answer.header(header::CONTENT_TYPE, "application/json");
            answer.body(StreamBody::new(body).boxed_unsync()).unwrap()
        }
        "/short" => answer.body(short("short")).unwrap(),
        _ => answer.status(403).body(short("forbidden")).unwrap(),
    }
}

fn send(pieces: &mut Pieces, text: &'static str) {
    let frame = Frame::data(Bytes::from_static(text.as_bytes()));
    pieces.try_send(Ok(frame)).unwrap();
}

async fn next(body: &mut AnswerBody) -> Option<Bytes> {
    let frame = within(body.frame()).await?;
    Some(frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn an_answer_comes_as_it_is_sent_and_ends_with_its_body() {
    for knows in [true, false] {
        let mut asked = Asked::start(knows).await;
        let (mut pieces, mut body) = asked.watch().await;
        for text in ["{\"one\": 1}\n", "two"] {
            send(&mut pieces, text);
            assert_eq!(next(&mut body).await.unwrap(), text);
        }
        assert_eq!(matches!(body, AnswerBody::Framed(_)), !knows);
        drop(pieces);
        assert_eq!(next(&mut body).await, None);
        asked.is_still().await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    let mut asked = Asked::start(true).await;
    let (mut pieces, mut body) = asked.watch().await;
    send(&mut pieces, "half");
    assert_eq!(next(&mut body).await.unwrap(), "half");
    let broken = io::Error::other("the API server is gone");
    pieces.try_send(Err(broken)).unwrap();
    within(body.frame()).await.unwrap().unwrap_err();
    asked.is_still().await;
}

#[tokio::test]
async fn nothing_is_sent_any_more_to_who_has_gone() {
    let mut asked = Asked::start(true).await;
    let (mut pieces, mut body) = asked.watch().await;
    send(&mut pieces, "one");
    next(&mut body).await.unwrap();
    drop(body);
    // Nothing more is sent, and it is noticed all the same.
    asked.is_still().await;
    assert!(pieces.is_closed());
}

#[tokio::test]
async fn refusals_and_short_answers_are_framed() {
    let asked = Asked::start(true).await;
    for (path, status, text) in [("/short", 200, "short"), ("/other", 403, "forbidden")] {
        let answer = asked.ask(path).await;
        assert_eq!(answer.status(), status);
        assert!(matches!(answer.body(), AnswerBody::Framed(_)));
        let body = within(answer.into_body().collect()).await.unwrap();
        assert_eq!(body.to_bytes(), text);
    }
}

#[test]
fn the_wish_is_taken_out_of_a_request_and_other_upgrades_stay() {
    let plain = Request::get("/").header("connection", "upgrade");
    let mut plain = plain.header("upgrade", "websocket").body(()).unwrap();
    Asker::of(&mut plain);
    assert_eq!(plain.headers().len(), 2);
    let named = Request::get("/")
        .header("connection", "Upgrade, x-hop")
        .header("upgrade", "lariat-unframed")
        .header("x-hop", "1");
    let mut named = named.body(()).unwrap();
    Asker::of(&mut named);
    assert!(named.headers().is_empty());
}
