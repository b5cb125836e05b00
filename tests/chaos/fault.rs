//! What can go wrong, drawn from the dice.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::proxy::Weather;

/// What a fault hits; what failed meanwhile may be its doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The coordinator was down.
    Coordinator,
    /// An agent was down or frozen.
    Agent(String),
    /// A process of an agent's workers was killed.
    Worker(String),
    /// A process in which the coordinator receives was killed.
    Receiver,
    /// An agent's network was broken.
    Network(String),
    /// The users' network was broken.
    Users,
    /// A disk was full.
    Disk(Place),
}

/// Which disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The coordinator's store and logs.
    Coordinator,
    /// The install root: staging, generations.
    Install,
    /// An agent's journal and spool.
    State(String),
    /// An agent's scratch folder.
    Scratch(String),
}

/// How a daemon is made to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Term,
}

/// One fault; `agent` is an index.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The coordinator goes, and is started again after some time.
    Coordinator { end: End, down: Duration },
    /// An agent goes, and is started again after some time.
    Agent { agent: usize, end: End, down: Duration },
    /// An agent stands still.
    Freeze { agent: usize, length: Duration },
    /// One of an agent's worker processes is killed: its outermost one, or any.
    Worker { agent: usize, outermost: bool, pick: u64 },
    /// A process in which the coordinator receives an archive is killed.
    Receiver,
    /// An agent's network changes; without an agent that of the users.
    Network { agent: Option<usize>, weather: Weather, length: Duration },
    /// A disk is full.
    Full { place: Place, length: Duration },
}

impl Fault {
    /// Draws one.
    pub(crate) fn draw(dice: &mut Dice, agents: &[String]) -> Self {
        let agent = dice.index(agents.len());
        let end = if dice.once_in(2) { End::Kill } else { End::Term };
        // Some are over before anybody notices, and some outlast the lease.
        let length = if dice.once_in(2) { dice.millis(100..=2_000) } else { dice.millis(2_000..=9_000) };
        let down = dice.millis(0..=3_000);
        let pick = dice.number(0..=u64::from(u32::MAX));
        match dice.number(1..=22) {
            1..=3 => Self::Coordinator { end, down },
            4..=6 => Self::Agent { agent, end, down },
            7..=8 => Self::Freeze { agent, length },
            9..=10 => Self::Worker { agent, outermost: pick.is_multiple_of(2), pick: pick / 2 },
            11..=16 => {
                Self::Network { agent: (!pick.is_multiple_of(4)).then_some(agent), weather: weather(pick), length }
            }
            17 => Self::Full { place: Place::Coordinator, length },
            18 => Self::Full { place: Place::Install, length },
            19 => Self::Full { place: Place::State(agents[agent].clone()), length },
            20 => Self::Full { place: Place::Scratch(agents[agent].clone()), length },
            _ => Self::Receiver,
        }
    }
}

fn weather(pick: u64) -> Weather {
    [Weather::Cut, Weather::Stalled, Weather::Slow][usize::try_from(pick / 4 % 3).expect("it is below 3")]
}

/// The time until the next one: mostly they come in a row, and now and then there is peace for builds to end in.
pub(crate) fn pause(dice: &mut Dice) -> Duration {
    if dice.once_in(6) { dice.millis(6_000..=12_000) } else { dice.millis(200..=3_200) }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("the coordinator's disk"),
            Self::Install => f.write_str("the install root"),
            Self::State(agent) => write!(f, "the state disk of {agent}"),
            Self::Scratch(agent) => write!(f, "the scratch disk of {agent}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("the coordinator was down"),
            Self::Agent(name) => write!(f, "{name} was down"),
            Self::Worker(name) => write!(f, "a process of {name}'s worker was killed"),
            Self::Receiver => f.write_str("a process of the coordinator was killed"),
            Self::Network(name) => write!(f, "the network of {name} was broken"),
            Self::Users => f.write_str("the users' network was broken"),
            Self::Disk(place) => write!(f, "{place} was full"),
        }
    }
}
