//! A network with a round trip: a proxy that holds every chunk for half of it, each way.

use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Longest piece that is read at once.
const CHUNK: usize = 64 * 1024;

/// Chunks on their way; 25 ms of 1 GiB/s are 25 MiB.
const ON_THE_WAY: usize = 16 * 1024;

/// Passes connections on to `to`, for ever.
pub async fn run(listener: TcpListener, to: String, each_way: Duration) {
    let to = Arc::new(to);
    while let Ok((near, _)) = listener.accept().await {
        let to = Arc::clone(&to);
        tokio::spawn(async move {
            let far = TcpStream::connect(to.as_str()).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let (near_reader, near_writer) = near.into_split();
            let (far_reader, far_writer) = far.into_split();
            for (reader, writer) in [(near_reader, far_writer), (far_reader, near_writer)] {
                let (on_its_way, arriving) = mpsc::channel(ON_THE_WAY);
                tokio::spawn(read(reader, on_its_way, each_way));
                tokio::spawn(write(arriving, writer));
            }
            io::Result::Ok(())
        });
    }
}

async fn read(
    mut from: OwnedReadHalf,
    to: mpsc::Sender<(Instant, Vec<u8>)>,
    each_way: Duration,
) -> io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = from.read_buf(&mut chunk).await?;
        if read < CHUNK / 4 {
            chunk.shrink_to_fit();
        }
        // An empty chunk is the end, which takes as long.
        if to.send((Instant::now() + each_way, chunk)).await.is_err() || read == 0 {
            return Ok(());
        }
    }
}

async fn write(
    mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some((due, chunk)) = arriving.recv().await {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        if chunk.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&chunk).await?;
    }
    Ok(())
}
