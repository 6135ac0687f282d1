//! Saying what is going on while something takes more than a few seconds.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

const LINE_EVERY: Duration = Duration::from_secs(15);

/// Progress of one long step, on standard error: a bar at a terminal, else a line every 15 s.
pub(crate) struct Progress {
    what: String,
    start: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
    done: u64,
    of: u64,
}

impl Progress {
    /// Begins a step of `of` parts.
    pub(crate) fn begin(what: &str, of: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(of)
                .with_style(style)
                .with_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        if bar.is_none() {
            say(&format!("{what} …"));
        }
        let now = Instant::now();
        Self {
            what: what.to_owned(),
            start: now,
            last_line: now,
            bar,
            done: 0,
            of,
        }
    }

    /// One part more is done.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done.min(self.of));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let seconds = self.start.elapsed().as_secs();
            say(&format!(
                "{}: {} of {} after {seconds} s",
                self.what, self.done, self.of
            ));
        }
    }

    /// The step is done.
    pub(crate) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(&format!(
            "{}: done in {:.0?}",
            self.what,
            self.start.elapsed()
        ));
    }
}

/// Writes one line to standard error; a closed standard error is nobody's problem here.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "testbed: {line}");
}
