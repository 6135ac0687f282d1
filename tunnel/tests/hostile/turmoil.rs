//! Honest ends in turmoil: downloads broken off while uploads begin, over and over.

use crate::{
    Heap, alone,
    support::{acceptor, echo, open_to, pair_in_memory, serve_streams, within},
};
use futures::future::join_all;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::session::{Incoming, Session};
use tunnel_proto::{
    hello::{FAIR, YAMUX},
    stream::Target,
};

const ROUNDS: usize = 20;
const AT_ONCE: usize = 16;
const UPLOAD: usize = 200_000;

/// What a stream is for follows from its trace.
const STEADY: u8 = 0;
const DOWNLOAD: u8 = 1;

async fn serve(incoming: Incoming, uploaded: Arc<AtomicU64>) {
    let Ok(inbound) = incoming.preamble().await else {
        return;
    };
    let what = inbound.open.trace[0];
    let Ok(mut stream) = inbound.accept().await else {
        return;
    };
    match what {
        STEADY => {
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
        DOWNLOAD => while stream.write_all(&[7; 16 * 1024]).await.is_ok() {},
        _ => {
            let mut got = Vec::new();
            if stream.read_to_end(&mut got).await.is_ok() {
                uploaded.fetch_add(got.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

async fn stream(session: &Session, what: u8) -> tunnel::session::Stream {
    let mut open = open_to(Target::KubeApi);
    open.trace[0] = what;
    session.open(&open).await.unwrap()
}

async fn turmoil(opener: &Session, uploaded: &AtomicU64) {
    let mut steady = Vec::new();
    for _ in 0..4 {
        steady.push(stream(opener, STEADY).await);
    }
    for round in 0..ROUNDS {
        let mut downloads = Vec::new();
        for _ in 0..AT_ONCE {
            downloads.push(stream(opener, DOWNLOAD).await);
        }
        within(join_all(downloads.iter_mut().map(async |download| {
            download.read_exact(&mut [0; 70_000]).await.unwrap();
        })))
        .await;
        // Broken off in the middle, while as many uploads begin.
        let uploads = join_all((0..AT_ONCE).map(async |_| {
            let mut upload = stream(opener, 2).await;
            upload.write_all(&[7; UPLOAD]).await.unwrap();
            upload.shutdown().await.unwrap();
            upload.read_to_end(&mut Vec::new()).await
        }));
        let (ended, ()) = within(futures::future::join(uploads, async { drop(downloads) })).await;
        assert_eq!(ended.len(), AT_ONCE);
        // The others go on.
        let answers = join_all(steady.iter_mut().map(async |stream| {
            let question = [round as u8; 30_000];
            let (mut read, mut write) = tokio::io::split(stream);
            let mut answer = [0; 30_000];
            let asked =
                futures::future::join(write.write_all(&question), read.read_exact(&mut answer));
            asked.await.1.unwrap();
            assert!(answer == question);
        }));
        within(answers).await;
        assert_eq!(opener.stats().open_streams, 1 + steady.len());
    }
    let whole = (ROUNDS * AT_ONCE * UPLOAD) as u64;
    within(async {
        while uploaded.load(Ordering::Relaxed) < whole {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(uploaded.load(Ordering::Relaxed), whole);
}

#[test]
fn downloads_that_are_broken_off_and_uploads_that_begin_stop_no_other_stream() {
    for mux in [FAIR, YAMUX] {
        for server_opens in [true, false] {
            alone(async {
                let (near, far) = pair_in_memory(acceptor(), mux).await;
                let uploaded = Arc::new(AtomicU64::new(0));
                let (opener, server) = match server_opens {
                    true => (near, far),
                    false => (far, near),
                };
                let counting = Arc::clone(&uploaded);
                serve_streams(&server, move |incoming| {
                    serve(incoming, Arc::clone(&counting))
                });
                // Once for what is made once.
                let mut first = stream(&opener, STEADY).await;
                first.write_all(b"x").await.unwrap();
                within(first.read_u8()).await.unwrap();
                let heap = Heap::from_now_on();
                turmoil(&opener, &uploaded).await;
                drop(first);
                // What is on its way is bounded by windows of 256 KiB, queues and replay.
                heap.is_below(2 * 24 * 1024 * 1024, mux);
            });
        }
    }
}

#[test]
fn echoes_of_both_ends_at_once_go_through_a_narrow_session() {
    for mux in [FAIR, YAMUX] {
        alone(async {
            let mut narrow = acceptor();
            narrow.memory = tunnel::Memory::of(0);
            let (near, far) = pair_in_memory(narrow, mux).await;
            serve_streams(&near, echo);
            serve_streams(&far, echo);
            let both = [&near, &far].map(|session| {
                join_all((0..AT_ONCE).map(async |_| {
                    let stream = session.open(&open_to(Target::KubeApi)).await.unwrap();
                    let (mut read, mut write) = tokio::io::split(stream);
                    let sent = vec![7; 300_000];
                    let mut got = Vec::new();
                    let write = async {
                        write.write_all(&sent).await.unwrap();
                        write.shutdown().await.unwrap();
                    };
                    futures::future::join(write, read.read_to_end(&mut got))
                        .await
                        .1
                        .unwrap();
                    assert_eq!(got.len(), 300_000);
                }))
            });
            within(join_all(both)).await;
        });
    }
}
