use super::*;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use std::{io::IoSlice, pin::Pin};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use tunnel_proto::MAX_MESSAGE;

/// Takes what is in several pieces, but seldom all of it.
struct Pieces(DuplexStream);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let together: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        self.poll_write(cx, &together)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

const LENGTHS: [usize; 14] = [
    0,
    1,
    125,
    126,
    4_000,
    4_096,
    4_097,
    16_384,
    65_535,
    65_536,
    5,
    MAX_MESSAGE,
    3,
    40_000,
];

fn message(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + number) as u8).collect()
}

#[tokio::test]
async fn messages_of_all_lengths_go_to_and_come_from_a_stock_peer() {
    for (role, other, room) in [
        (Role::Client, Role::Server, 1_000),
        (Role::Server, Role::Client, 100_000),
        (Role::Server, Role::Client, 777),
    ] {
        for in_pieces in [false, true] {
            let (near, far) = duplex(room);
            let io: Box<dyn Io> = if in_pieces {
                Box::new(Pieces(near))
            } else {
                Box::new(near)
            };
            let mut carrier = Carrier::new(io, role);
            let peer = WebSocketStream::from_raw_socket(far, other, None).await;
            let (mut sink, mut stream) = peer.split();
            let echo = tokio::spawn(async move {
                while let Some(Ok(message)) = stream.next().await {
                    if message.is_binary() {
                        sink.feed(Message::Ping("are you there".into()))
                            .await
                            .unwrap();
                        sink.send(message).await.unwrap();
                    }
                }
            });
            for (number, len) in LENGTHS.into_iter().enumerate() {
                carrier.send(message(number, len)).await.unwrap();
                assert_eq!(carrier.receive().await.unwrap(), message(number, len));
            }
            carrier.rest();
            // Several that leave together.
            for (number, len) in LENGTHS[..6].iter().enumerate() {
                poll_fn(|cx| carrier.poll_ready(cx)).await.unwrap();
                carrier.start_send(message(number, *len).into());
            }
            for (number, len) in LENGTHS[..6].iter().enumerate() {
                let received = poll_fn(|cx| {
                    let _ = carrier.poll_flush(cx);
                    carrier.poll_message(cx)
                });
                assert_eq!(received.await.unwrap(), message(number, *len));
            }
            carrier.close().await;
            echo.await.unwrap();
        }
    }
}

/// A frame of a server: first byte and payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    let mut frame = match len {
        0..126 => vec![first, len as u8],
        _ => [&[first, 126][..], &len.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(payload);
    frame
}

/// What one end makes of these bytes.
async fn received(role: Role, bytes: &[u8], piece: usize) -> (Vec<Bytes>, io::Error) {
    let (near, mut far) = duplex(1 << 20);
    let mut carrier = Carrier::new(Box::new(near), role);
    let mut messages = Vec::new();
    let mut pieces = bytes.chunks(piece);
    loop {
        match carrier.receive().now_or_never() {
            Some(Ok(message)) => messages.push(message),
            Some(Err(error)) => return (messages, error),
            None => match pieces.next() {
                Some(piece) => far.write_all(piece).await.unwrap(),
                None => far.shutdown().await.unwrap(),
            },
        }
    }
}

#[tokio::test]
async fn fragments_are_put_together_whatever_comes_between_them() {
    let frames = [
        frame(0x02, b"be"),
        frame(0x89, b"ping"),
        frame(0x00, b"twe"),
        frame(0x8a, b""),
        frame(0x80, b"en"),
        frame(0x82, &[7; 300]),
        frame(0x88, b""),
    ];
    let bytes = frames.concat();
    for piece in [1, 2, 3, 100, bytes.len()] {
        let (messages, error) = received(Role::Client, &bytes, piece).await;
        assert_eq!(
            messages,
            [Bytes::from_static(b"between"), vec![7; 300].into()]
        );
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn what_no_message_can_be_is_an_error() {
    let cases: [(&[u8], &str); 12] = [
        (&[0x81, 1, b'a'], "not a binary message"),
        (&[0xc2, 0], "extension"),
        (&[0x92, 0], "extension"),
        (&[0x82, 0x81, 1, 2, 3, 4, 5], "masked"),
        (&[0x80, 0], "fragment"),
        (&[0x02, 0, 0x82, 0], "fragment"),
        (&[0x09, 0], "control frame in fragments"),
        (&[0x89, 126, 0, 126], "too long"),
        (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0x15], "too long"),
        (
            &[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255],
            "too long",
        ),
        (&[0x83, 0], "opcode"),
        (&[0x8b, 0], "opcode"),
    ];
    for (bytes, expected) in cases {
        let (messages, error) = received(Role::Client, bytes, 100).await;
        assert!(messages.is_empty());
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:x?}");
        assert!(error.to_string().contains(expected), "{bytes:x?}: {error}");
    }
    let fragments = [frame(0x02, &[0; 60_000]), frame(0x80, &[0; 6_000])].concat();
    let (_, error) = received(Role::Client, &fragments, 100_000).await;
    assert!(error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn a_ping_is_answered_and_of_many_the_last() {
    let (near, far) = duplex(64);
    let mut carrier = Carrier::new(Box::new(near), Role::Client);
    let mut peer = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    // The way is full.
    poll_fn(|cx| carrier.poll_ready(cx)).await.unwrap();
    carrier.start_send(vec![1; 200].into());
    assert!(
        poll_fn(|cx| carrier.poll_flush(cx))
            .now_or_never()
            .is_none()
    );
    for number in 0..100_u8 {
        peer.send(Message::Ping(vec![number].into())).await.unwrap();
        assert!(carrier.receive().now_or_never().is_none());
    }
    let (message, _) = tokio::join!(peer.next(), poll_fn(|cx| carrier.poll_flush(cx)));
    assert_eq!(
        message.unwrap().unwrap(),
        Message::Binary(vec![1; 200].into())
    );
    assert_eq!(
        peer.next().await.unwrap().unwrap(),
        Message::Pong(vec![99].into())
    );
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]),
        1 => any::<u8>(),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (first, any::<Option<[u8; 4]>>(), payload).prop_map(|(first, key, mut payload)| {
        let mut bytes = frame(first, &payload);
        if let Some(key) = key {
            let header = bytes.len() - payload.len();
            bytes.truncate(header);
            bytes[1] |= 0x80;
            bytes.extend_from_slice(&key);
            mask(&mut payload, key);
            bytes.extend_from_slice(&payload);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_comes_does_not_depend_on_the_pieces_it_comes_in(
        frames in prop::collection::vec(any_frame(), 0..12),
        rest: Vec<u8>,
        server: bool,
        piece in 1..400_usize,
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let bytes = [frames.concat(), rest].concat();
        let at_once = received(role, &bytes, bytes.len().max(1)).now_or_never().unwrap();
        let pieces = received(role, &bytes, piece).now_or_never().unwrap();
        prop_assert_eq!(at_once.0, pieces.0);
        prop_assert_eq!(at_once.1.to_string(), pieces.1.to_string());
    }

    #[test]
    fn a_mask_is_that_of_the_protocol(mut bytes: Vec<u8>, key: [u8; 4]) {
        let expected: Vec<u8> = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ key[at % 4])
            .collect();
        mask(&mut bytes, key);
        prop_assert_eq!(bytes, expected);
    }
}
