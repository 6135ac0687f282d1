//! Waiting for a condition with a limit.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result};

/// Asks `condition` every `every` until it gives a value.
///
/// `Ok(Ok(value))` ends the wait, `Ok(Err(reason))` asks again and is shown if the limit passes,
/// `Err` ends the wait at once.
///
/// # Errors
/// [`Error::Timeout`] with the last reason, or the error of the condition.
pub fn until<T>(
    what: &str,
    limit: Duration,
    every: Duration,
    mut condition: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match condition()? {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= limit => {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    limit,
                    last,
                });
            }
            Err(_) => thread::park_timeout(every),
        }
    }
}
