//! Sizes that are announced and do not come, and sizes that are too much.

use crate::{
    Heap, alone,
    peer::{Honest, Peer, Upgraded, frugal, payload, signed, socket, upgraded},
    support::{echo, within},
    wire::{link, link_frame, mux, mux_data, mux_frame, mux_open},
};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};
use tunnel::{
    accept::{AcceptError, Accepted, Acceptor},
    identity::KeyPair,
    session::End,
};
use tunnel_proto::{
    MAX_MESSAGE,
    frame::Frame,
    hello::{self, FAIR, HelloError, MAX_HELLO, RejectionCode},
};

/// What one connection may hold in its handshake: buffers of pipe and WebSocket, the longest message,
/// and what is made of a hello of 16 KiB.
const HANDSHAKE: usize = 768 * 1024;

/// What comes of this first message.
async fn first(acceptor: &Acceptor, message: Message) -> Result<Accepted, AcceptError> {
    let Upgraded {
        pipe, accepting, ..
    } = upgraded(acceptor);
    let mut socket = socket(pipe, Role::Client).await;
    // It may be refused before it is there.
    let _ = socket.send(message).await;
    let answer = within(socket.next()).await;
    if let Some(Ok(answer)) = answer
        && let Ok(answer) = hello::decode_answer(&answer.into_data())
    {
        let hello::Answer::Rejected(rejection) = answer else {
            panic!("it was taken");
        };
        assert_eq!(rejection.code, RejectionCode::Malformed);
    }
    accepting.await.unwrap()
}

#[test]
fn a_hello_that_is_too_long_too_deep_or_none_is_malformed() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let deep = |open: &str, close: &str, times: usize| {
            let json = format!(
                r#"{{"payload":{}{}"#,
                open.repeat(times),
                close.repeat(times)
            );
            Message::binary(json)
        };
        let heap = Heap::from_now_on();
        let too_long = [
            Message::binary(vec![b' '; MAX_HELLO + 1]),
            Message::binary(vec![b'['; MAX_MESSAGE]),
        ];
        for message in too_long {
            let len = message.len();
            let error = first(&acceptor, message).await.err().unwrap();
            let AcceptError::Hello(HelloError::TooLong(found)) = error else {
                panic!("{error:?}");
            };
            assert_eq!(found, len);
        }
        let malformed = [
            deep("[", "]", 8_000),
            deep(r#"{"a":"#, "}", 2_000),
            deep(r#"{"agent":"#, "}", 1_500),
            Message::binary(vec![b'['; MAX_HELLO]),
            Message::binary(vec![0xff; MAX_HELLO]),
            Message::binary(vec![0; MAX_MESSAGE + 1]),
            Message::binary(vec![0; 200_000]),
            Message::binary(vec![]),
            Message::text("{}"),
        ];
        for message in malformed {
            let error = first(&acceptor, message).await.err().unwrap();
            assert!(matches!(error, AcceptError::Hello(_)), "{error:?}");
        }
        heap.is_below(
            HANDSHAKE + 512 * 1024,
            "hellos of all lengths, with the messages themselves",
        );
        honest.is_served().await;
    });
}

#[test]
fn a_hello_of_many_little_things_costs_little() {
    alone(async {
        let acceptor = frugal();
        let key = KeyPair::generate().unwrap();
        let honest = hello::payload_bytes(&payload(&key, FAIR));
        let honest = String::from_utf8(honest).unwrap();
        let field = |name: &str, item: &str, list: [&str; 2]| {
            let items = vec![item; (MAX_HELLO - honest.len() - 200) / (item.len() + 1)].join(",");
            format!(
                r#"{{"{name}":{}{items}{},{}"#,
                list[0],
                list[1],
                &honest[1..]
            )
        };
        let list = ["[", "]"];
        let many = [
            field("capabilities", r#""""#, list),
            field("later", "[]", list),
            field("later", r#"{"":0}"#, list),
            // Read into a tree before its kind is known.
            honest.replace(
                r#"{"kind":"#,
                &format!(r#"{{"later":[{}],"kind":"#, vec!["[]"; 4_500].join(",")),
            ),
        ];
        for payload in many {
            let Upgraded {
                pipe,
                nonce,
                accepting,
            } = upgraded(&acceptor);
            let hello = signed(&key, &nonce, payload.as_bytes());
            assert!(hello.len() > MAX_HELLO - 4_000 && hello.len() <= MAX_HELLO);
            let mut socket = socket(pipe, Role::Client).await;
            let heap = Heap::from_now_on();
            socket.send(Message::binary(hello)).await.unwrap();
            let accepted = accepting.await.unwrap();
            assert!(accepted.is_ok(), "{:?}", accepted.err());
            heap.is_below(HANDSHAKE, "a hello of many little things");
        }
    });
}

#[test]
fn a_message_that_is_announced_and_does_not_come_costs_one_buffer() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        // A masked binary frame: 16 or 64 bits of length, a mask, and nothing.
        let long = |len: u64| [&[0x82, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
        let longest = [&[0x82, 0xfe][..], &[0xff, 0xff], &[0; 4]].concat();
        for head in [
            longest,
            long(MAX_MESSAGE as u64),
            long(MAX_MESSAGE as u64 + 1),
            long(1 << 40),
            long(u64::MAX),
        ] {
            let mut upgraded = upgraded(&acceptor);
            let heap = Heap::from_now_on();
            upgraded.pipe.write_all(&head).await.unwrap();
            let error = upgraded.accepting.await.unwrap().err().unwrap();
            assert!(
                matches!(error, AcceptError::Hello(_) | AcceptError::Late(_)),
                "{error:?}"
            );
            heap.is_below(HANDSHAKE, "a message that does not come");
        }
        honest.is_served().await;
    });
}

#[test]
fn a_message_that_is_too_long_or_text_ends_the_session() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let skipped = |len| Message::binary(link_frame(link::SKIPPED, &vec![0; len]));
        let mut peer = Peer::connect(&acceptor, FAIR).await;
        assert!(peer.message(skipped(MAX_MESSAGE - 4)).await);
        assert_eq!(peer.settled().await, None);
        for message in [
            skipped(MAX_MESSAGE - 3),
            skipped(1 << 20),
            Message::text(""),
        ] {
            let mut peer = Peer::connect(&acceptor, FAIR).await;
            peer.message(message).await;
            let end = peer.end().await;
            assert!(matches!(end, End::Carrier(_)), "{end:?}");
        }
        honest.is_served().await;
    });
}

#[test]
fn frames_that_are_announced_and_do_not_come_hold_nothing() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(echo);
        assert!(peer.mux(&mux_open(1, 0)).await);
        assert_eq!(peer.settled().await, None);
        let head = mux_data(1, &vec![0; 65_536])[..8].to_vec();
        let heap = Heap::from_now_on();
        assert!(peer.mux(&head).await);
        assert_eq!(peer.settled().await, None);
        heap.is_below(128 * 1024, "DATA without its bytes");
        peer.finish().await;

        // 16 MiB of a frame of a later version, which is skipped.
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(echo);
        let skipped = mux_frame(mux::SKIPPED, 0, &vec![0; 0x00ff_ffff]);
        let heap = Heap::from_now_on();
        assert!(peer.mux(&skipped).await);
        assert_eq!(peer.settled().await, None);
        heap.is_below(768 * 1024, "a frame of 16 MiB that is skipped");
        peer.finish().await;
        honest.is_served().await;
    });
}

#[test]
fn preambles_that_are_too_long_are_refused_and_announced_ones_hold_what_has_come() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(echo);
        for (stream, header) in [
            (1, [0, 1, 0xff, 0xff, 0xff, 0xff]),
            (3, [0, 1, 0, 0, 0x40, 0x01]),
            (5, [0xff, 0xff, 0, 0, 0, 0]),
        ] {
            let opening = [mux_open(stream, 65_536), mux_data(stream, &header)].concat();
            assert!(peer.mux(&opening).await);
            // The status says that it is malformed.
            let refusal = loop {
                let frames = peer.receive().await.unwrap();
                let data = frames.into_iter().find_map(|frame| match frame {
                    Frame::Data { payload, .. } if payload[0] == mux::DATA => Some(payload),
                    _ => None,
                });
                if let Some(data) = data {
                    break data;
                }
            };
            assert_eq!(refusal[4..8], stream.to_be_bytes());
            assert_eq!(refusal[8], 1);
        }
        let heap = Heap::from_now_on();
        let mut opening = Vec::new();
        for stream in (7..).step_by(2).take(16) {
            opening.extend(mux_open(stream, 0));
            opening.extend(mux_data(stream, &[0, 1, 0, 0, 0x40, 0]));
        }
        assert!(peer.mux(&opening).await);
        assert_eq!(peer.settled().await, None);
        heap.is_below(128 * 1024, "16 preambles of 16 KiB that do not come");
        peer.finish().await;
        honest.is_served().await;
    });
}
