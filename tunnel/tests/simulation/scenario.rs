//! What happens in a world: streams and faults as a seed says, then peace, in which everything
//! must come to its end.

use super::{
    lanes,
    network::{DOWN, FINE, Fate, Network, Trouble, UP, Weather},
    oracle::{Flow, MOST_PIECE, Manner, OPENER, Spec},
    trace::Trace,
    world::{Process, Settings, World, open},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tunnel::session::{OpenError, Phase, Session};
use tunnel_proto::{
    frame::CloseCode,
    hello::{FAIR, YAMUX},
    stream::Class,
};

/// What a run was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub digest: u64,
    pub streams: usize,
    pub delivered: usize,
    pub carriers: u64,
}

/// One world from a seed, and its virtual life.
pub struct Scenario {
    pub world: World,
    pub rng: StdRng,
    /// What is to be done later.
    later: Vec<(Instant, Later)>,
}

#[derive(Clone, Copy, Debug)]
enum Later {
    Heal(usize),
    StartServer,
    StartAgent(usize),
}

impl Scenario {
    pub fn new(seed: u64, shown: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let agents = rng.random_range(1..=3);
        let muxes: Vec<_> = (0..agents).map(|_| any_mux(&mut rng)).collect();
        let memory = [64 * 1024, 2 * 1024 * 1024, 256 * 1024 * 1024][rng.random_range(0..3)];
        // yamux measures round trips in real time and makes windows larger by it, which would be
        // another story each time.
        let has_yamux = muxes.iter().flatten().any(|mux| mux == YAMUX);
        let settings = Settings {
            resume_window: secs(&mut rng, 20..90),
            memory: if has_yamux { 0 } else { memory },
            muxes,
            bulk_lane: rng.random_range(0..4) > 0,
            seed,
        };
        Self::of(settings, rng, shown)
    }

    pub fn of(settings: Settings, rng: StdRng, shown: bool) -> Self {
        let seed = settings.seed;
        let trace = Arc::new(Trace::new(shown));
        trace.note(format_args!(
            "seed {seed}: {:?}, {:?}, {}",
            settings.resume_window, settings.muxes, settings.memory
        ));
        let lines = settings.muxes.len();
        let network = Network::new(seed, lines, FINE, Arc::clone(&trace));
        Self {
            world: World::new(network, settings, trace),
            rng,
            later: Vec::new(),
        }
    }

    /// Faults and streams, then peace.
    pub async fn run(mut self) -> Result<Summary, String> {
        self.all_connected().await?;
        let end = Instant::now() + secs(&mut self.rng, 20..90);
        while Instant::now() < end {
            let pause = Duration::from_millis(self.rng.random_range(0..1_500));
            sleep(pause).await;
            self.catch_up();
            match self.rng.random_range(0..10) {
                0..7 => self.open_any(),
                _ => self.disturb(),
            }
        }
        self.make_peace();
        self.finish().await
    }

    /// Every agent has a session that is live and attached at both ends.
    pub async fn all_connected(&self) -> Result<(), String> {
        let limit = Instant::now() + Duration::from_secs(90);
        let live = |session: Option<Session>| {
            session.is_some_and(|session| {
                *session.attached().borrow() && *session.phase().borrow() == Phase::Live
            })
        };
        let all = || {
            let ends = self.world.agents.iter().enumerate();
            ends.clone().all(|(index, agent)| {
                let (far, near) = (agent.session(index), self.world.server.session(index));
                let same = far.as_ref().map(Session::id) == near.as_ref().map(Session::id);
                same && live(far) && live(near)
            })
        };
        while !all() {
            if Instant::now() > limit {
                let ends = self.ends();
                let ends = ends
                    .iter()
                    .map(|end| (end.id(), end.phase(), end.stats().lane));
                return Err(format!(
                    "an agent does not come back: {:?}",
                    ends.collect::<Vec<_>>()
                ));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Does what has become due.
    fn catch_up(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, what) in due {
            self.act(what);
        }
    }

    fn act(&mut self, what: Later) {
        self.world.trace.note(format_args!("{what:?}"));
        match what {
            Later::Heal(line) => self.world.network.heal(line),
            Later::StartServer => self.world.start_server(),
            Later::StartAgent(agent) => self.world.start_agent(agent),
        }
    }

    fn later(&mut self, range: std::ops::Range<u64>, what: Later) {
        let at = Instant::now() + Duration::from_millis(self.rng.random_range(range));
        self.later.push((at, what));
    }

    fn open_any(&mut self) {
        let agent = self.rng.random_range(0..self.world.agents.len());
        let from_server = self.rng.random_bool(0.7);
        let process = match from_server {
            true => &self.world.server,
            false => &self.world.agents[agent],
        };
        let (process, session) = (process.clone(), process.session(agent));
        let count = match self.rng.random_range(0..10) {
            0 => 20,
            count => count / 3 + 1,
        };
        let Some(session) = session else { return };
        for _ in 0..count {
            let spec = any_spec(&mut self.rng, count > 4);
            self.open(&process, &session, spec);
        }
    }

    pub fn open(&self, process: &Process, session: &Session, mut spec: Spec) {
        if session.mux() == YAMUX {
            // Where one end has ended its direction and lets the stream go, yamux leaves the other
            // end's writer waiting.
            for manner in &mut spec.manners {
                manner.drops_after = manner.drops_after.filter(|_| manner.answers_last);
            }
        }
        let ledger = Arc::clone(&self.world.ledger);
        let class = spec.class;
        let id = ledger.enter(spec, session);
        let session = session.clone();
        process.spawn(async move {
            let open = open(id as u64, class, Duration::from_secs(600));
            match session.open(&open).await {
                Ok(stream) => ledger.run(id, OPENER, async { Ok(stream) }).await,
                // It never was a stream.
                Err(OpenError::Draining | OpenError::Closed) => {}
                Err(error) => ledger.fault(format!("stream {id}: {error}")),
            }
        });
    }

    /// Something bad happens.
    fn disturb(&mut self) {
        let line = self.rng.random_range(0..self.world.agents.len());
        let what = self.rng.random_range(0..100);
        let trace = Arc::clone(&self.world.trace);
        trace.note(format_args!("disturbance {what} on line {line}"));
        let network = self.world.network.clone();
        match what {
            0..16 => network.befall(line, Fate::Reset),
            16..24 => network.befall(line, Fate::Torn),
            24..36 => network.befall(line, Fate::Gone),
            36..66 => {
                for direction in [&[UP][..], &[DOWN], &[UP, DOWN]][self.rng.random_range(0..3)] {
                    network.darken(line, *direction);
                }
                let longest = [500, 5_000, 20_000, 60_000][self.rng.random_range(0..4)];
                self.later(100..longest, Later::Heal(line));
            }
            66..82 => network.set_weather(line, any_weather(&mut self.rng)),
            82..94 => network.set_trouble(Trouble {
                cut: self.rng.random_range(0..400),
                stall: self.rng.random_range(0..200),
                slow: self.rng.random_range(0..500),
            }),
            94 => self.crash_server(),
            95..97 => self.crash_agent(line),
            _ => self.leave(line),
        }
    }

    fn crash_server(&mut self) {
        let is_down = |(_, later): &(Instant, Later)| matches!(later, Later::StartServer);
        if self.later.iter().any(is_down) {
            return;
        }
        if self.rng.random_bool(0.5) {
            for line in 0..self.world.agents.len() {
                self.world.network.befall(line, Fate::Gone);
            }
        }
        self.world.server.kill();
        self.later(0..5_000, Later::StartServer);
    }

    fn crash_agent(&mut self, agent: usize) {
        let is_down = |(_, later): &(Instant, Later)| matches!(later, Later::StartAgent(down) if *down == agent);
        if self.later.iter().any(is_down) {
            return;
        }
        if self.rng.random_bool(0.5) {
            self.world.network.befall(agent, Fate::Gone);
        }
        self.world.agents[agent].kill();
        self.later(0..5_000, Later::StartAgent(agent));
    }

    /// One end drains or closes.
    fn leave(&mut self, agent: usize) {
        let process = match self.rng.random_bool(0.5) {
            true => &self.world.server,
            false => &self.world.agents[agent],
        };
        let Some(session) = process.session(agent) else {
            return;
        };
        if self.rng.random_bool(0.6) {
            session.drain(secs(&mut self.rng, 1..30), "simulated");
        } else {
            session.close(CloseCode::Normal, "simulated");
        }
    }

    /// All faults end.
    fn make_peace(&mut self) {
        self.world.trace.note(format_args!("peace"));
        self.world.network.set_trouble(Trouble::default());
        for line in 0..self.world.agents.len() {
            self.world.network.set_weather(line, FINE);
            self.world.network.heal(line);
        }
        for (_, what) in std::mem::take(&mut self.later) {
            self.act(what);
        }
    }

    /// Everything comes to its end within bounded time, and nothing is left.
    pub async fn finish(self) -> Result<Summary, String> {
        self.all_connected().await?;
        let world = &self.world;
        // Sessions whose agent has crashed end when their window has passed. Readers that pause
        // have at most 64 kB with a pause of 20 ms for each 500 bytes, and stops of 40 s.
        let limit = Instant::now() + world.settings.resume_window + Duration::from_secs(240);
        while !world.ledger.unfinished().is_empty() && Instant::now() < limit {
            sleep(Duration::from_millis(250)).await;
        }
        for stream in world.ledger.unfinished() {
            world.ledger.fault(format!("does not end: {stream}"));
        }
        world.ledger.check_agreement();
        world.ledger.check_lanes();
        // What the sessions of crashed peers hold, they hold until their window has passed; and
        // what fell silent before the peace is noticed by then.
        sleep(world.settings.resume_window + Duration::from_secs(20)).await;
        self.all_connected().await?;
        self.probe_all().await;
        // Bulk lanes that nobody uses have gone.
        sleep(lanes::IDLE + Duration::from_secs(10)).await;
        self.check_rest();
        let carriers = self.carriers();
        self.end().await;
        let (delivered, streams) = self.world.ledger.sum();
        match self.world.ledger.faults().first() {
            Some(fault) => Err(fault.clone()),
            None => Ok(Summary {
                digest: self.world.trace.digest(),
                streams,
                delivered,
                carriers,
            }),
        }
    }

    fn ends(&self) -> Vec<Session> {
        let world = &self.world;
        let of = |agent: usize| {
            [
                world.agents[agent].session(agent),
                world.server.session(agent),
            ]
        };
        (0..world.agents.len()).flat_map(of).flatten().collect()
    }

    fn carriers(&self) -> u64 {
        let ends = self.ends();
        ends.iter().map(|end| end.stats().lane.carriers).sum()
    }

    async fn probe_all(&self) {
        for session in self.ends() {
            match self.world.probe(&session).await {
                Ok(took) if took <= Duration::from_secs(1) => {}
                other => {
                    let fault = format!("a new request on {}: {other:?}", session.id());
                    self.world.ledger.fault(fault);
                }
            }
        }
    }

    /// Live sessions that nobody uses hold nothing.
    fn check_rest(&self) {
        for session in self.ends() {
            let stats = session.stats();
            let mut left = stats.open_streams + stats.lane.unacknowledged;
            left += stats.bulk.lane.unacknowledged;
            for streams in [stats.streams, stats.bulk.streams].into_iter().flatten() {
                left += streams.own_streams + streams.peer_streams;
                left += streams.unread + streams.queued.iter().sum::<usize>();
            }
            if left > 0 || stats.bulk.open {
                let fault = format!("left in {}: {stats:?}", session.id());
                self.world.ledger.fault(fault);
            }
        }
        let windows = self.world.taken().0;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        // The server's listener; an agent's dialling; for each end a driver and who takes streams.
        let expected = 1 + 5 * self.world.agents.len();
        if windows > 0 || tasks != expected {
            let fault =
                format!("at rest: {windows} bytes of windows, {tasks} tasks, not {expected}");
            self.world.ledger.fault(fault);
        }
    }

    /// All sessions are closed; no task and no memory is left.
    async fn end(&self) {
        let world = &self.world;
        for session in self.ends() {
            session.close(CloseCode::Normal, "the end");
        }
        sleep(Duration::from_millis(1)).await;
        for process in world.agents.iter().chain([&world.server]) {
            process.kill();
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        let limit = Instant::now() + Duration::from_secs(5);
        while metrics.num_alive_tasks() > 0 && Instant::now() < limit {
            sleep(Duration::from_millis(10)).await;
        }
        let (tasks, taken) = (metrics.num_alive_tasks(), world.taken());
        if tasks > 0 || taken != (0, 0) {
            let fault = format!("left at the end: {tasks} tasks, {taken:?} bytes");
            world.ledger.fault(fault);
        }
    }
}

pub fn secs(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range.start * 1_000..range.end * 1_000))
}

pub fn any_mux(rng: &mut StdRng) -> Vec<String> {
    let mux = [FAIR, FAIR, YAMUX][rng.random_range(0..3)];
    vec![mux.to_owned()]
}

pub fn any_weather(rng: &mut StdRng) -> Weather {
    let latency = [1, 20, 80, 300][rng.random_range(0..4)];
    Weather {
        latency: Duration::from_millis(latency),
        jitter: Duration::from_millis(rng.random_range(0..=latency)),
        rate: [60_000, 500_000, 5_000_000, 100_000_000][rng.random_range(0..4)],
    }
}

fn any_class(rng: &mut StdRng) -> Class {
    Class::ALL[rng.random_range(0..Class::ALL.len())]
}

/// A stream as there may be many: an exchange, an upload, a download, a long silence; in any order
/// of half-closes; with slow and stopped readers; let go in the middle, or seen through.
pub fn any_spec(rng: &mut StdRng, small: bool) -> Spec {
    let answers_last = rng.random_range(0..4_usize);
    let manner = |rng: &mut StdRng, end: usize| Manner {
        answers_last: answers_last == end,
        drops_after: (rng.random_range(0..12) == 0).then(|| rng.random_range(1..100_000)),
        becomes: (rng.random_range(0..6) == 0).then(|| any_class(rng)),
    };
    Spec {
        class: any_class(rng),
        flows: [any_flow(rng, small), any_flow(rng, small)],
        manners: [manner(rng, 0), manner(rng, 1)],
    }
}

fn any_flow(rng: &mut StdRng, small: bool) -> Flow {
    let most = match rng.random_range(0..20) {
        _ if small => 3_000,
        0 => 1_500_000,
        1..5 => 200_000,
        5..10 => 20_000,
        10..18 => 1_000,
        _ => 1,
    };
    let len = rng.random_range(0..most);
    let pauses = rng.random_range(0..4) == 0;
    let pause = |rng: &mut StdRng, piece: usize| match pauses {
        // Never more than 30 s for all.
        true => {
            let most = (30_000 / (len / piece + 1)).min(2_000) as u64;
            Duration::from_millis(rng.random_range(0..=most))
        }
        false => Duration::ZERO,
    };
    let piece = rng.random_range(len / 64 + 1..=(len + 2).min(MOST_PIECE));
    let read_piece = rng.random_range(len / 64 + 1..=(len + 2).min(MOST_PIECE));
    Flow {
        len,
        piece,
        pause: pause(rng, piece),
        read_piece,
        read_pause: pause(rng, read_piece),
        stop: (rng.random_range(0..8) == 0)
            .then(|| (rng.random_range(1..=len + 1), secs(rng, 0..40))),
    }
}
