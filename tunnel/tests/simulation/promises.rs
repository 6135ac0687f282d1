//! How soon things must happen, whatever the seed.

use super::{
    network::{DOWN, FINE, Fate, Network, UP, Weather},
    scenario::{Scenario, any_mux, any_spec, secs},
    simulate,
    world::Settings,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tunnel::session::{Phase, Session};

/// Seeds of each promise.
const SEEDS: u64 = 60;

/// Both ends of one session that may be without a carrier for five minutes.
struct Pair {
    scenario: Scenario,
    far: Session,
    near: Session,
    latency: Duration,
}

async fn pair(seed: u64) -> Pair {
    let mut rng = StdRng::seed_from_u64(seed);
    let settings = Settings {
        resume_window: Duration::from_secs(300),
        memory: 0,
        muxes: vec![any_mux(&mut rng)],
        bulk_lane: true,
        seed,
    };
    let scenario = Scenario::of(settings, rng, false);
    scenario.all_connected().await.unwrap();
    let latency = Duration::from_millis([0, 10, 25, 50][(seed % 4) as usize]);
    let weather = Weather { latency, ..FINE };
    let world = &scenario.world;
    world.network.set_weather(0, weather);
    Pair {
        far: world.agents[0].session(0).unwrap(),
        near: world.server.session(0).unwrap(),
        latency,
        scenario,
    }
}

impl Pair {
    fn network(&self) -> &Network {
        &self.scenario.world.network
    }

    /// Streams that go on meanwhile, now and then.
    fn make_traffic(&mut self) {
        for _ in 0..self.scenario.rng.random_range(0..4) {
            let spec = any_spec(&mut self.scenario.rng, true);
            let server = self.scenario.world.server.clone();
            self.scenario.open(&server, &self.near, spec);
        }
    }

    /// Drops everything in one direction or both.
    fn darken(&mut self) {
        for direction in [&[UP][..], &[DOWN], &[UP, DOWN]][self.scenario.rng.random_range(0..3)] {
            self.network().darken(0, *direction);
        }
    }

    async fn finish(self, seed: u64) {
        if let Err(why) = self.scenario.finish().await {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn a_request_behind_a_cut_is_served_within_a_second() {
    for seed in 1..=SEEDS {
        simulate(|| async {
            let mut pair = pair(seed).await;
            for _ in 0..6 {
                sleep(secs(&mut pair.scenario.rng, 1..7) + Duration::from_millis(300)).await;
                pair.make_traffic();
                pair.network().befall(0, Fate::Reset);
                let took = pair.scenario.world.probe(&pair.near).await.unwrap();
                assert!(took <= Duration::from_secs(1), "seed {seed}: {took:?}");
            }
            pair.finish(seed).await;
        });
    }
}

#[test]
fn a_request_behind_150_seconds_without_a_network_is_served_within_five() {
    for seed in 1..=SEEDS {
        simulate(|| async {
            let mut pair = pair(seed).await;
            pair.make_traffic();
            sleep(secs(&mut pair.scenario.rng, 0..3)).await;
            pair.darken();
            sleep(secs(&mut pair.scenario.rng, 75..76)).await;
            // Some wait from before.
            pair.make_traffic();
            sleep(secs(&mut pair.scenario.rng, 75..78)).await;
            pair.network().heal(0);
            let took = pair.scenario.world.probe(&pair.near).await.unwrap();
            assert!(took <= Duration::from_secs(5), "seed {seed}: {took:?}");
            pair.finish(seed).await;
        });
    }
}

#[test]
fn both_ends_notice_silence_within_ten_seconds() {
    for seed in 1..=SEEDS {
        simulate(|| async {
            let mut pair = pair(seed).await;
            sleep(secs(&mut pair.scenario.rng, 0..12)).await;
            pair.make_traffic();
            sleep(secs(&mut pair.scenario.rng, 0..2)).await;
            pair.darken();
            let began = Instant::now();
            // What was on its way when it got dark was heard later.
            let limit = Duration::from_secs(10) + 3 * pair.latency + Duration::from_millis(10);
            for end in [&pair.near, &pair.far] {
                let mut attached = end.attached();
                let noticed = attached.wait_for(|attached| !attached).await;
                drop(noticed.unwrap());
                let took = began.elapsed();
                assert!(took <= limit, "seed {seed}: {took:?}");
            }
            pair.network().heal(0);
            pair.finish(seed).await;
        });
    }
}

#[test]
fn a_hello_that_arrives_behind_a_newer_one_costs_no_session() {
    for seed in 1..=SEEDS {
        simulate(|| async {
            let mut pair = pair(seed).await;
            let latency = pair.latency.max(Duration::from_millis(10));
            pair.network().set_weather(0, Weather { latency, ..FINE });
            sleep(secs(&mut pair.scenario.rng, 2..4)).await;
            pair.network().befall(0, Fate::Reset);
            // Somewhere in the handshake the agent loses the connection and dials again, while
            // what it had said is still on its way.
            let step = pair.scenario.rng.random_range(1..12);
            sleep(latency * step).await;
            pair.network().befall(0, Fate::Torn);
            for _ in 0..20 {
                pair.make_traffic();
                sleep(secs(&mut pair.scenario.rng, 0..2)).await;
            }
            for end in [&pair.near, &pair.far] {
                let phase = end.phase().borrow().clone();
                assert_eq!(phase, Phase::Live, "seed {seed}");
            }
            pair.finish(seed).await;
        });
    }
}

#[test]
fn a_peer_learns_that_the_other_leaves_though_the_carrier_is_lost() {
    for seed in 1..=SEEDS {
        simulate(|| async {
            let mut pair = pair(seed).await;
            sleep(secs(&mut pair.scenario.rng, 2..4)).await;
            let fate = [Fate::Reset, Fate::Gone][(seed % 2) as usize];
            pair.near.drain(Duration::from_secs(60), "simulated");
            sleep(Duration::from_millis(pair.scenario.rng.random_range(0..3))).await;
            pair.network().befall(0, fate);
            sleep(Duration::from_secs(12)).await;
            for end in [&pair.near, &pair.far] {
                let phase = end.phase().borrow().clone();
                let draining = matches!(phase, Phase::Draining { .. });
                assert!(draining, "seed {seed}: {phase:?}");
            }
            sleep(Duration::from_secs(60)).await;
            pair.finish(seed).await;
        });
    }
}
