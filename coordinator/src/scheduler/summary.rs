//! What the desk is at, in a sentence, as `systemctl status` shows it.

use model::agent::AgentState;
use model::build::BuildState;
use tokio::time::Instant;

use super::desk::Desk;

impl Desk {
    pub(super) fn in_a_sentence(&self, now: Instant) -> String {
        let waiting = self.active.values().filter(|active| matches!(active.build.state, BuildState::Queued)).count();
        let lease = self.parts.config.lease();
        let states = self.links.iter().map(|link| self.links.state(link, lease, now));
        let connected = states.filter(|state| *state == AgentState::Connected).count();
        sentence(self.active.len() - waiting, waiting, connected, self.links.iter().count())
    }
}

fn sentence(running: usize, waiting: usize, connected: usize, agents: usize) -> String {
    let builds = match (running, waiting) {
        (0, 0) => "nothing to build".to_owned(),
        (running, 0) => format!("{running} under way"),
        (0, waiting) => format!("{waiting} waiting"),
        (running, waiting) => format!("{running} under way, {waiting} waiting"),
    };
    format!("{builds}; {connected} of {agents} agents connected")
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn it_says_what_there_is() {
        assert_eq!(sentence(0, 0, 0, 0), "nothing to build; 0 of 0 agents connected");
        assert_eq!(sentence(2, 0, 1, 1), "2 under way; 1 of 1 agents connected");
        assert_eq!(sentence(2, 3, 1, 4), "2 under way, 3 waiting; 1 of 4 agents connected");
    }
}
