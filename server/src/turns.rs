//! Turns at what only so many may do at once. Who takes long keeps nobody waiting: after a second the next one has its turn,
//! too.

use std::num::NonZero;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// How long a turn lasts at most.
const LONGEST: Duration = Duration::from_secs(1);

/// Does something, the first second of it in a turn. Cancellation-safe if what is done is.
pub(crate) async fn take<Turn, Done>(turn: Turn, doing: impl Future<Output = Done>) -> Done {
    let mut doing = pin!(doing);
    if let Ok(done) = timeout(LONGEST, &mut doing).await {
        return done;
    }
    drop(turn);
    doing.await
}

/// How many cores there are for this process.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn a_turn_ends_with_what_is_done_in_it_or_after_a_second() {
        let turns = Semaphore::new(1);
        let begun = Instant::now();
        let slow = async {
            let turn = turns.acquire().await.unwrap();
            take(turn, sleep(Duration::from_secs(9))).await;
            begun.elapsed().as_secs()
        };
        let quick = async {
            let turn = turns.acquire().await.unwrap();
            let since = begun.elapsed().as_secs();
            take(turn, sleep(Duration::from_millis(1))).await;
            since
        };
        assert_eq!(tokio::join!(slow, quick), (9, 1));
        assert_eq!(turns.available_permits(), 1);
    }
}
