//! Ending everything when the owner is told to end.

use std::{process, sync::Arc, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Result, error::Step, progress::say, slot::Slot};

/// Starts a thread that, on the first SIGINT, SIGTERM or SIGHUP, removes all that is recorded in
/// `slot` and exits with 128 plus the number of the signal.
pub(crate) fn end_on_signals(slot: Arc<Slot>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .step(|| "prepare for signals".into())?;
    let mut signals = {
        let _context = runtime.enter();
        let listen = |kind: SignalKind| signal(kind).step(|| "listen for signals".into());
        [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]
    };
    let wait = move || {
        let number = runtime.block_on(first(&mut signals));
        say("ending everything that this testbed has started");
        slot.end();
        process::exit(128 + number);
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .step(|| "start a thread for signals".into())?;
    Ok(())
}

async fn first([interrupt, terminate, hangup]: &mut [Signal; 3]) -> i32 {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
    }
}
