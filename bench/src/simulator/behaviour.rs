//! What simulated agents do, and the API servers behind them.

use anyhow::{Context as _, bail, ensure};
use rand::Rng;
use std::{str::FromStr, time::Duration};

/// What one agent does, and the API server behind it. By default it stays connected, and answers at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// How long the API server takes for an answer.
    pub answer: Answer,
    /// Bytes of an answer to `/simulated/payload`: between these.
    pub payload: (u64, u64),
    /// Bytes a second that the API server reads from a stream. All by default.
    pub read: Option<u64>,
    /// Takes streams, and neither reads them nor answers.
    pub silent: bool,
    /// Refuses every stream.
    pub rejects: bool,
    /// The API server answers health checks and forbids everything else.
    pub forbids: bool,
    /// Its connection can be cut from outside.
    pub line: bool,
    /// About how often its connection is cut. The session goes on over the next one.
    pub flap: Option<Duration>,
    /// Says goodbye from time to time, and comes back.
    pub leave: Option<Leave>,
}

/// How long an API server takes for an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Any time between these, each as likely.
    Between(Duration, Duration),
    /// Exponentially distributed, with this mean: most answers are faster, and a few much slower.
    Around(Duration),
}

/// How an agent comes and goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leave {
    /// About how long it stays.
    pub after: Duration,
    /// How long it is away.
    pub away: Duration,
}

impl Default for Answer {
    fn default() -> Self {
        Self::Between(Duration::ZERO, Duration::ZERO)
    }
}

impl Answer {
    /// The time for one answer.
    pub fn draw(&self, rng: &mut impl Rng) -> Duration {
        match *self {
            Self::Between(least, most) if least >= most => least,
            Self::Between(least, most) => rng.random_range(least..=most),
            // Where the distribution reaches what is left; never quite infinity.
            Self::Around(mean) => mean.mul_f64(-f64::ln(1.0 - rng.random_range(0.0..0.9999))),
        }
    }
}

impl Behaviour {
    /// Whether it needs a line that can be cut.
    pub(super) fn needs_line(&self) -> bool {
        self.line || self.flap.is_some()
    }

    /// Bytes of one answer to `/simulated/payload`.
    pub(super) fn draw_payload(&self, rng: &mut impl Rng) -> u64 {
        let (least, most) = self.payload;
        rng.random_range(least..=most.max(least))
    }
}

/// Reads `answer=5ms..50ms,payload=1KiB..64KiB,read=64KiB,silent,rejects,forbids,line,flap=30s,leave=60s/10s`, or a part
/// of it. `answer=~20ms` is [`Answer::Around`].
impl FromStr for Behaviour {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut behaviour = Self::default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            match (name, value) {
                ("silent", "") => behaviour.silent = true,
                ("rejects", "") => behaviour.rejects = true,
                ("forbids", "") => behaviour.forbids = true,
                ("line", "") => behaviour.line = true,
                ("answer", value) => behaviour.answer = answer(value)?,
                ("payload", value) => behaviour.payload = range(value, size)?,
                ("read", value) => {
                    let rate = size(value)?;
                    ensure!(rate > 0, "read is at least 1 byte a second");
                    behaviour.read = Some(rate);
                }
                ("flap", value) => behaviour.flap = Some(interval(value)?),
                ("leave", value) => {
                    let (after, away) = value.split_once('/').with_context(|| {
                        format!("leave={value}: write how long it stays and is away, like 60s/10s")
                    })?;
                    behaviour.leave = Some(Leave {
                        after: interval(after)?,
                        away: duration(away)?,
                    });
                }
                _ => bail!(
                    "{item:?} is no behaviour; known are answer=, payload=, read=, silent, rejects, forbids, line, flap= and leave="
                ),
            }
        }
        Ok(behaviour)
    }
}

fn answer(text: &str) -> anyhow::Result<Answer> {
    if let Some(mean) = text.strip_prefix('~') {
        return Ok(Answer::Around(duration(mean)?));
    }
    let (least, most) = range(text, duration)?;
    Ok(Answer::Between(least, most))
}

/// `LEAST..MOST`, or one value for both.
fn range<T: PartialOrd + Copy>(
    text: &str,
    read: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<(T, T)> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (read(least)?, read(most)?);
    ensure!(least <= most, "{text}: the first of a range is the least");
    Ok((least, most))
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = duration(text)?;
    ensure!(
        interval >= Duration::from_millis(100),
        "{text}: at least 100ms, as nothing would be connected otherwise"
    );
    Ok(interval)
}

/// A number, and what stands behind it.
fn number_and_unit(text: &str) -> anyhow::Result<(u64, &str)> {
    let split = text
        .find(|digit: char| !digit.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    Ok((number.parse()?, unit))
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = number_and_unit(text)
        .with_context(|| format!("{text:?} is no time; write 20ms, 30s or 5m"))?;
    // A year, so that it can be added to any time.
    ensure!(number <= 31_536_000, "{text} is too long");
    Ok(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        _ => bail!("{text:?} is no time; write 20ms, 30s or 5m"),
    })
}

fn size(text: &str) -> anyhow::Result<u64> {
    let (number, unit) = number_and_unit(text)
        .with_context(|| format!("{text:?} is no size; write 512, 64KiB or 1MiB"))?;
    let unit = match unit {
        "" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => bail!("{text:?} is no size; write 512, 64KiB or 1MiB"),
    };
    let bytes = number.checked_mul(unit).filter(|bytes| *bytes <= 1 << 40);
    bytes.with_context(|| format!("{text} is too large"))
}

/// Which agents behave in which way; the others as [`Behaviour::default`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mix(Vec<(Share, Behaviour)>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Share {
    Agents(usize),
    Percent(f64),
}

impl Mix {
    /// All alike.
    #[must_use]
    pub fn all(behaviour: Behaviour) -> Self {
        Self(vec![(Share::Percent(100.0), behaviour)])
    }

    /// Reads `5%:flap=30s`, `10:silent` and the like, in this order. Without a number it is of all that are left.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> anyhow::Result<Self> {
        let one = |text: T| {
            let text = text.as_ref();
            let Some((share, behaviour)) = text.split_once(':') else {
                return Ok((Share::Percent(100.0), text.parse()?));
            };
            let wrong = || format!("{share:?} is no number of agents; write 10: or 5%:");
            let share = match share.strip_suffix('%') {
                Some(percent) => {
                    let percent: f64 = percent.parse().with_context(wrong)?;
                    ensure!((0.0..=100.0).contains(&percent), "{}", wrong());
                    Share::Percent(percent)
                }
                None => Share::Agents(share.parse().with_context(wrong)?),
            };
            anyhow::Ok((share, behaviour.parse()?))
        };
        let read: anyhow::Result<_> = texts.into_iter().map(one).collect();
        Ok(Self(read?))
    }

    /// The behaviour of the agent at this place, of so many.
    #[must_use]
    pub fn of(&self, place: usize, agents: usize) -> Behaviour {
        let mut before = 0;
        for (share, behaviour) in &self.0 {
            before += match share {
                Share::Agents(number) => *number,
                Share::Percent(percent) => (agents as f64 * percent / 100.0).round() as usize,
            };
            if place < before {
                return behaviour.clone();
            }
        }
        Behaviour::default()
    }

    /// Most file descriptors that an agent takes.
    pub(super) fn descriptors(&self) -> usize {
        let lines = self.0.iter().any(|(_, behaviour)| behaviour.needs_line());
        // Its connection; with a line also the listener and both ends that are passed on.
        if lines { 4 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    #[test]
    fn a_behaviour_is_read_as_it_is_written() {
        let read: Behaviour =
            "answer=5ms..50ms,payload=1KiB..64KiB,read=64KiB,flap=30s,leave=1m/10s,silent"
                .parse()
                .unwrap();
        let expected = Behaviour {
            answer: Answer::Between(Duration::from_millis(5), Duration::from_millis(50)),
            payload: (1024, 65536),
            read: Some(65536),
            silent: true,
            flap: Some(Duration::from_secs(30)),
            leave: Some(Leave {
                after: Duration::from_secs(60),
                away: Duration::from_secs(10),
            }),
            ..Behaviour::default()
        };
        assert_eq!(read, expected);
        let read: Behaviour = "answer=~20ms".parse().unwrap();
        assert_eq!(read.answer, Answer::Around(Duration::from_millis(20)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "sleepy",
            "answer=5",
            "answer=5ms..1ms",
            "payload=1TB",
            "read=0",
            "flap=1ms",
            "leave=60s",
            "silent=yes",
            "payload=99999999999999999999",
            "payload=9999999999999999MiB",
            "leave=99999999999999m/1s",
        ] {
            assert!(text.parse::<Behaviour>().is_err(), "{text}");
        }
        assert!(Mix::parse(["x:silent"]).is_err());
        assert!(Mix::parse(["101%:silent"]).is_err());
    }

    #[test]
    fn shares_follow_each_other_and_the_rest_behave_well() {
        let mix = Mix::parse(["10%:silent", "5:rejects"]).unwrap();
        let counted =
            |is: fn(&Behaviour) -> bool| (0..100).filter(|at| is(&mix.of(*at, 100))).count();
        assert_eq!(counted(|it| it.silent), 10);
        assert_eq!(counted(|it| it.rejects), 5);
        assert_eq!(counted(|it| *it == Behaviour::default()), 85);
    }

    #[test]
    fn answers_take_about_as_long_as_was_said() {
        let mut rng = StdRng::seed_from_u64(1);
        let mean = Duration::from_millis(20);
        let drawn: Duration = (0..10_000)
            .map(|_| Answer::Around(mean).draw(&mut rng))
            .sum();
        assert!((180..=220).contains(&drawn.as_secs()), "{drawn:?}");
        let (least, most) = (Duration::from_millis(5), Duration::from_millis(6));
        let drawn = Answer::Between(least, most).draw(&mut rng);
        assert!((least..=most).contains(&drawn));
    }
}
