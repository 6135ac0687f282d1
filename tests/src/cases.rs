//! Cases by name, run one after the other; each says what it found.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::future::LocalBoxFuture;

/// A case; says what it found.
pub type Case<W> = for<'w> fn(&'w W) -> LocalBoxFuture<'w, Result<String>>;

/// Runs the cases whose names contain `only`, and prints what came of each.
///
/// # Errors
/// When one fails, or none has such a name.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub async fn run<W>(cases: &[(&str, Case<W>)], world: &W, only: &str) -> Result<()> {
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(only)) {
        let started = Instant::now();
        match case(world).await {
            Ok(said) => {
                passed += 1;
                println!("ok      {name} ({:.1?}): {said}", started.elapsed());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {name} ({:.1?}): {error:#}", started.elapsed());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0, "{failed} cases failed");
    ensure!(passed > 0, "no case has such a name");
    Ok(())
}
