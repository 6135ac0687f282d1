#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use futures::FutureExt as _;

fn flow(interactive: usize, per_user: usize) -> Flow {
    Flow::new(Limits {
        interactive,
        bulk: 1,
        per_user,
        watches_per_user: 1,
        patience: Duration::from_secs(1),
    })
}

fn load(flow: &Flow) -> (usize, usize) {
    let load = flow.load()[0];
    (load.executing, load.waiting)
}

#[tokio::test]
async fn what_a_user_has_under_way_is_bounded() {
    let flow = flow(4, 2);
    let tickets = [
        flow.enter("a", false).unwrap(),
        flow.enter("a", false).unwrap(),
    ];
    assert_eq!(flow.enter("a", false).unwrap_err(), Refused::UserLimit);
    let watch = flow.enter("a", true).unwrap();
    assert_eq!(flow.enter("a", true).unwrap_err(), Refused::Watches);
    flow.enter("b", false).unwrap();
    drop((tickets, watch));
    flow.enter("a", false).unwrap();
    assert!(flow.shared.lock().users.is_empty());
}

#[tokio::test]
async fn one_user_leaves_seats_to_others() {
    let flow = flow(4, 100);
    let flood: Vec<_> = (0..10).map(|_| flow.enter("a", false).unwrap()).collect();
    let mut asked: Vec<_> = (flood.iter())
        .map(|ticket| Box::pin(ticket.seat(Level::Interactive)))
        .collect();
    let seats: Vec<_> = (asked.iter_mut())
        .filter_map(|asked| asked.now_or_never())
        .collect();
    assert_eq!(seats.len(), 2, "half of them");
    assert_eq!(load(&flow), (2, 8));
    let other = flow.enter("b", false).unwrap();
    assert!(other.seat(Level::Interactive).now_or_never().is_some());
    drop(seats);
    // Whoever waited got the seats; those who go away are passed over.
    assert_eq!(load(&flow), (2, 6));
    drop(asked);
    let last = other.seat(Level::Interactive).await.unwrap();
    drop(last);
    assert_eq!(load(&flow), (0, 0));
    assert!(flow.shared.lock().interactive.users.is_empty());
}

#[tokio::test]
async fn who_has_fewest_comes_first_and_then_who_came_first() {
    let flow = flow(2, 100);
    let enter = |user| flow.enter(user, false).unwrap();
    let (first, second) = (enter("a"), enter("b"));
    let a = first.seat(Level::Interactive).await.unwrap();
    let b = second.seat(Level::Interactive).await.unwrap();
    let waiting = [enter("a"), enter("c"), enter("d")];
    let mut turns: Vec<_> = (waiting.iter())
        .map(|ticket| Box::pin(ticket.seat(Level::Interactive)))
        .collect();
    for turn in &mut turns {
        assert!(turn.now_or_never().is_none());
    }
    drop(b);
    assert!(
        (&mut turns[0]).now_or_never().is_none(),
        "a has one already"
    );
    let c = (&mut turns[1]).now_or_never().unwrap();
    drop(a);
    let a = (&mut turns[0]).now_or_never().unwrap();
    assert!((&mut turns[2]).now_or_never().is_none());
    drop(c);
    assert!((&mut turns[2]).now_or_never().is_some());
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_away_does_not_fill_the_queue() {
    let flow = flow(1, 2 * MAX_WAITING);
    let enter = |user| flow.enter(user, false).unwrap();
    let (first, other) = (enter("a"), enter("b"));
    let _seat = first.seat(Level::Interactive).await.unwrap();
    let flood: Vec<_> = (0..MAX_WAITING).map(|_| enter("a")).collect();
    let mut waiting: Vec<_> = (flood.iter())
        .map(|ticket| Box::pin(ticket.seat(Level::Interactive)))
        .collect();
    for turn in &mut waiting {
        assert!(turn.now_or_never().is_none());
    }
    let refused = other.seat(Level::Interactive).await.unwrap_err();
    assert_eq!(refused, Refused::QueueFull);
    drop(waiting);
    let refused = other.seat(Level::Interactive).await.unwrap_err();
    assert_eq!(refused, Refused::TimeOut);
    assert_eq!(load(&flow), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let flow = flow(1, 100);
    let (first, second) = (
        flow.enter("a", false).unwrap(),
        flow.enter("b", false).unwrap(),
    );
    let seat = first.seat(Level::Interactive).await.unwrap();
    assert_eq!(
        second.seat(Level::Interactive).await.unwrap_err(),
        Refused::TimeOut
    );
    assert!(second.seat(Level::Bulk).await.is_ok());
    drop(seat);
    assert!(second.seat(Level::Interactive).await.is_ok());
    assert_eq!(load(&flow), (0, 0));
}
