//! A session that has carried a lot is as small as before when it is quiet.

use crate::{
    Heap, alone,
    support::{IN_MEMORY, acceptor, echo, open_to, pair_in_memory, serve_streams},
};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::session::Session;
use tunnel_proto::{hello::FAIR, stream::Target};

const MIB: usize = 1024 * 1024;

async fn there_and_back(session: &Session, bytes: usize) {
    let mut stream = session.open(&open_to(Target::KubeApi)).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(&mut stream);
    let sent = vec![7; bytes];
    let mut got = vec![0; bytes];
    let (wrote, read) = tokio::join!(writing.write_all(&sent), reading.read_exact(&mut got));
    wrote.unwrap();
    assert_eq!(read.unwrap(), bytes);
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn a_busy_session_is_small_again_when_it_is_quiet() {
    alone(async {
        let (near, far) = pair_in_memory(acceptor(), FAIR).await;
        serve_streams(&far, echo);
        there_and_back(&near, 100).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let heap = Heap::from_now_on();
        there_and_back(&near, 4 * MIB).await;
        let busy = heap.now();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let quiet = heap.now().saturating_sub(2 * IN_MEMORY);
        println!("{busy} bytes when busy, {quiet} when quiet");
        assert!(quiet < 16 * 1024, "{quiet} bytes are kept, {busy} before");
        there_and_back(&near, 4 * MIB).await;
    });
}
