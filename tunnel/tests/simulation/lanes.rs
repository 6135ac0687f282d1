//! The second lane comes at need and goes in order, whatever the seed.

use super::{
    network::{FINE, Fate, Weather},
    scenario::{Scenario, any_mux, any_spec, secs},
    simulate,
    world::Settings,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::time::Duration;
use tokio::time::sleep;
use tunnel::session::Session;
use tunnel_proto::stream::Class;

/// How long a lane that nobody uses is kept.
pub const IDLE: Duration = Duration::from_secs(60);

struct Pair {
    scenario: Scenario,
    far: Session,
    near: Session,
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
    let latency = Duration::from_millis([1, 10, 50, 200][(seed % 4) as usize]);
    let world = &scenario.world;
    world.network.set_weather(0, Weather { latency, ..FINE });
    Pair {
        far: world.agents[0].session(0).unwrap(),
        near: world.server.session(0).unwrap(),
        scenario,
    }
}

impl Pair {
    /// A stream of bulk, short and seen through, from either side.
    fn open(&mut self) {
        let scenario = &mut self.scenario;
        let mut spec = any_spec(&mut scenario.rng, true);
        spec.class = Class::Bulk;
        for (flow, manner) in spec.flows.iter_mut().zip(&mut spec.manners) {
            (flow.pause, flow.read_pause, flow.stop) = (Duration::ZERO, Duration::ZERO, None);
            (manner.drops_after, manner.becomes) = (None, None);
        }
        let (process, session) = match scenario.rng.random_bool(0.5) {
            true => (scenario.world.server.clone(), &self.near),
            false => (scenario.world.agents[0].clone(), &self.far),
        };
        scenario.open(&process, session, spec);
    }

    async fn finish(self, seed: u64) {
        let lost = [&self.near, &self.far].map(|end| end.bulk().lost);
        assert_eq!(lost, [0, 0], "seed {seed}");
        if let Err(why) = self.scenario.finish().await {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn a_lane_that_nobody_uses_goes_and_comes_again() {
    for seed in 1..=12 {
        simulate(|| async {
            let mut pair = pair(seed).await;
            for round in 1..=3 {
                pair.open();
                sleep(Duration::from_secs(10)).await;
                for end in [&pair.near, &pair.far] {
                    let bulk = end.bulk();
                    assert!(bulk.open && bulk.begun == round, "seed {seed}: {bulk:?}");
                }
                sleep(IDLE + Duration::from_secs(10)).await;
                for end in [&pair.near, &pair.far] {
                    let bulk = end.bulk();
                    assert!(!bulk.open && bulk.begun == round, "seed {seed}: {bulk:?}");
                }
            }
            pair.finish(seed).await;
        });
    }
}

#[test]
fn a_lane_that_nobody_uses_goes_whatever_becomes_of_its_connections() {
    for seed in 1..=12 {
        simulate(|| async {
            let mut pair = pair(seed).await;
            pair.open();
            for _ in 0..8 {
                sleep(IDLE / 4).await;
                pair.scenario.world.network.befall(0, Fate::Reset);
            }
            sleep(Duration::from_secs(5)).await;
            for end in [&pair.near, &pair.far] {
                let bulk = end.bulk();
                assert!(!bulk.open && bulk.begun == 1, "seed {seed}: {bulk:?}");
            }
            pair.finish(seed).await;
        });
    }
}

#[test]
fn a_stream_that_is_opened_as_the_lane_goes_is_served_all_the_same() {
    for seed in 1..=40 {
        simulate(|| async {
            let mut pair = pair(seed).await;
            for _ in 0..6 {
                pair.open();
                // The lane is left at some time within what follows.
                sleep(IDLE - Duration::from_secs(2)).await;
                for _ in 0..pair.scenario.rng.random_range(0..40) {
                    sleep(Duration::from_millis(200)).await;
                    if pair.scenario.rng.random_range(0..30) == 0 {
                        pair.scenario.world.network.befall(0, Fate::Reset);
                    }
                }
                for _ in 0..pair.scenario.rng.random_range(1..30) {
                    let pause = pair.scenario.rng.random_range(0..40);
                    sleep(Duration::from_millis(pause)).await;
                    pair.open();
                }
            }
            sleep(secs(&mut pair.scenario.rng, 1..3)).await;
            pair.finish(seed).await;
        });
    }
}
