//! Readers that stop: what the other streams of the session move in a time, on a line of a rate,
//! both of them virtual.

use crate::{
    alone,
    network::{Network, Weather},
    support::{Serving, acceptor, open_to, pair_through, serve_streams, within},
    trace::Trace,
};
use futures::future::join_all;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};
use tunnel::{
    dial::Connect,
    session::{Incoming, Session},
};
use tunnel_proto::{
    hello::{FAIR, YAMUX},
    stream::Target,
};

/// 4 MB/s at a round trip of 10 ms.
const LINE: Weather = Weather {
    latency: Duration::from_millis(5),
    jitter: Duration::ZERO,
    rate: 4_000_000,
};

/// Streams that go on.
const OTHERS: usize = 4;

/// How long their bytes are counted.
const TIME: Duration = Duration::from_secs(2);

fn connect(serving: Serving) -> Arc<dyn Connect> {
    let network = Network::new(1, 1, LINE, Arc::new(Trace::new(false)));
    let mut listener = network.listen();
    let connector = network.connector(0);
    tokio::spawn(async move {
        while let Some((_, socket)) = listener.recv().await {
            tokio::spawn(serving.clone().serve(socket));
        }
    });
    connector
}

/// Writes for as long as anything is taken.
async fn pour(incoming: Incoming) {
    let mut stream = incoming.preamble().await.unwrap().accept().await.unwrap();
    while stream.write_all(&[7; 16 * 1024]).await.is_ok() {}
}

/// Opens this many streams that are not read, and says how much the others bring.
async fn moved(reader: &Session, writer: &Session, stopped: usize) -> u64 {
    serve_streams(writer, pour);
    let open = open_to(Target::KubeApi);
    let held = join_all((0..stopped).map(async |_| {
        let mut stream = reader.open(&open).await.unwrap();
        // It has begun.
        within(stream.read_exact(&mut [0; 1_000])).await.unwrap();
        stream
    }))
    .await;
    // Their windows fill.
    sleep(Duration::from_secs(5)).await;
    let count = Arc::new(AtomicU64::new(0));
    let others = (0..OTHERS).map(async |_| {
        let mut stream = reader.open(&open).await.unwrap();
        let mut block = [0; 16 * 1024];
        loop {
            let read = stream.read(&mut block).await.unwrap();
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    });
    let counted = async {
        sleep(Duration::from_secs(1)).await;
        let before = count.load(Ordering::Relaxed);
        sleep(TIME).await;
        count.load(Ordering::Relaxed) - before
    };
    let reading = async {
        join_all(others).await;
    };
    let moved = tokio::select! {
        moved = counted => moved,
        () = reading => unreachable!("they read for ever"),
    };
    assert_eq!(held.len(), stopped);
    moved
}

#[test]
fn stopped_readers_take_less_than_a_tenth_of_what_others_move() {
    for mux in [FAIR, YAMUX] {
        for server_writes in [true, false] {
            let mut alone_moved = 0;
            for stopped in [0, 1, 16] {
                alone(async {
                    let (near, far) = pair_through(acceptor(), mux, connect).await;
                    let (writer, reader) = match server_writes {
                        true => (near, far),
                        false => (far, near),
                    };
                    let moved = moved(&reader, &writer, stopped).await;
                    println!("{mux}, server writes: {server_writes}, {stopped} stopped: {moved}");
                    if stopped == 0 {
                        // The line is used.
                        assert!(moved > 8 * LINE.rate / 10 * TIME.as_secs(), "{moved}");
                        alone_moved = moved;
                    }
                    assert!(moved * 10 > alone_moved * 9, "{moved} of {alone_moved}");
                });
            }
        }
    }
}
