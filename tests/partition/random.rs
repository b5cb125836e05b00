//! Cuts, crashes and slow links from a seed, many of them: whatever happens, the rules of the [`crate::ledger`] hold, and
//! when the network is whole again every build comes to one verdict.

use std::time::Duration;

use model::build::{Build, BuildState};

use crate::cut::Cut;
use crate::site::{MN, Plan, Site};
use crate::worker::Script;

/// Rounds of one site.
const ROUNDS: u32 = 30;
const LIMIT: Duration = Duration::from_secs(600);

/// Numbers that follow from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn cut(&mut self) -> Cut {
        [Cut::Lost, Cut::Held, Cut::Unheard, Cut::Deaf][self.roll(4) as usize]
    }

    fn millis(&mut self, up_to: u64) -> Duration {
        Duration::from_millis(self.roll(up_to))
    }
}

impl Site {
    fn all_builds(&self) -> Vec<Build> {
        (1..=self.builds).map(|number| self.build(number)).collect()
    }
}

fn one_site(seed: u64) {
    println!("seed {seed}");
    let script = Script { lines: 6, pace: Duration::from_millis(300) };
    let mut site = Site::start(Plan { agents: &["a", "b", "c"], builds: 8, script, seed });
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..ROUNDS {
        round(&mut site, &mut dice);
    }
    site.until("every verdict", LIMIT, |site| site.all_builds().iter().all(|build| build.state.is_final()));
    site.run_for(Duration::from_secs(30));
    for build in site.all_builds() {
        let generations = site.ask(|store| store.generations(&build.rootimgdir).expect("the store can be read")).len();
        match build.state {
            BuildState::Succeeded => assert_eq!(generations, 1, "build {}", build.id),
            // Lost too often; nothing else can go wrong here.
            BuildState::Failed { failure } => {
                assert!(failure.cause.contains("was lost"), "build {}: {failure:?}", build.id);
                assert_eq!((generations, build.attempts.len()), (0, 3), "build {}", build.id);
            }
            other => panic!("build {} is {other:?}", build.id),
        }
        site.logs_are_whole(build.id.get());
    }
    site.nothing_is_left();
}

/// Something happens to one agent or to the coordinator, lasts, and is over.
fn round(site: &mut Site, dice: &mut Dice) {
    let agent = site.agents[dice.roll(site.agents.len() as u64) as usize];
    match dice.roll(10) {
        0 => {
            site.sim().crash(agent);
            let away = dice.millis(20_000);
            site.run_for(away);
            site.sim().bounce(agent);
        }
        1 => {
            site.crash_coordinator();
            let away = dice.millis(20_000);
            site.run_for(away);
            site.start_coordinator();
        }
        2 => {
            let latency = dice.millis(1500);
            site.sim().set_link_latency(agent, MN, latency);
            site.run_for(Duration::from_secs(10));
            site.sim().set_link_latency(agent, MN, Duration::from_millis(5));
        }
        _ => {
            let (cut, length) = (dice.cut(), dice.millis(25_000));
            site.cut(agent, cut);
            site.run_for(length);
            site.mend(agent, cut);
        }
    }
    let pause = dice.millis(3_000);
    site.run_for(pause);
}

#[test]
fn whatever_happens_every_build_has_one_verdict() {
    for seed in 1..=5 {
        one_site(seed);
    }
}

#[test]
fn whatever_else_happens_every_build_has_one_verdict() {
    for seed in 6..=10 {
        one_site(seed);
    }
}
