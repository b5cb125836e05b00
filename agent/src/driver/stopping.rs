//! The end of the agent: what runs is ended and reported, for a limited time.

use std::time::Duration;

use proto::v1;
use proto::v1::coordinator_message::Message as FromCoordinator;
use tokio::time::Instant;

use super::{Driver, Message};
use crate::hands::{Hand, Leaving};

/// How long killed workers may take to go, and their folders to be cleared, when the agent stops.
const STOPPING: Duration = Duration::from_secs(8);

/// How long the coordinator may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the coordinator hears then.
const STOPPED: &str = "the agent was stopped";

impl Driver {
    /// Takes no more work, ends what runs, and gives the coordinator a moment to hear of it. What it does not hear
    /// now it hears from the journal, at the next start.
    pub(super) async fn stop(mut self) {
        self.pulse.stopping();
        if let Some(out) = &self.out {
            let leaving = v1::agent_message::Message::Leaving(v1::Leaving {});
            // No room: then the session is stuck, and its end says the same.
            let _ = out.try_send(v1::AgentMessage { message: Some(leaving) });
        }
        for (id, assign) in self.hands.take_waiting() {
            self.refuse(id, assign.osimage, STOPPED.to_owned()).await;
        }
        for hand in self.hands.iter().filter(|hand| hand.running).map(|hand| hand.entry.attempt).collect::<Vec<_>>() {
            self.leave(hand, Leaving::Lost(STOPPED.to_owned())).await;
        }
        let deadline = Instant::now() + STOPPING;
        let untold = |hand: &Hand| hand.running && !hand.entry.is_over() && !hand.forget.is_cancelled();
        self.hear_while(deadline, |driver| driver.hands.iter().any(untold)).await;
        let unheard = |hand: &Hand| !hand.entry.unacknowledged.is_empty();
        let farewell = Instant::now() + FAREWELL;
        self.hear_while(farewell, |driver| driver.out.is_some() && driver.hands.iter().any(unheard)).await;
        // What isn't cleared by then is found by the next run.
        self.hear_while(deadline, |driver| driver.hands.iter().any(|hand| hand.running)).await;
    }

    /// Goes on while something is so, up to a time, and takes no work.
    async fn hear_while(&mut self, deadline: Instant, so: impl Fn(&Self) -> bool) {
        while so(self) {
            match tokio::time::timeout_at(deadline, self.inbox.recv()).await {
                // Unanswered: if the agent comes back at once, it is given the attempt again.
                Ok(Some(Message::Said(FromCoordinator::Assign(_)))) => {}
                Ok(Some(message)) => self.hear(message).await,
                Ok(None) | Err(_) => return,
            }
        }
    }
}
