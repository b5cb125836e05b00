//! Ways to cut an agent off.

use crate::site::{MN, Site};

/// What becomes of what is sent during a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is gone, and with it every connection that was used.
    Lost,
    /// It arrives when the cut is over: connections survive unless somebody gives them up.
    Held,
    /// What the agent says is gone; it goes on hearing.
    Unheard,
    /// What the coordinator says is gone; it goes on hearing.
    Deaf,
}

impl Site {
    pub(crate) fn cut(&mut self, agent: &str, cut: Cut) {
        match cut {
            Cut::Lost => self.sim().partition(agent, MN),
            Cut::Held => self.sim().hold(agent, MN),
            Cut::Unheard => self.sim().partition_oneway(agent, MN),
            Cut::Deaf => self.sim().partition_oneway(MN, agent),
        }
    }

    pub(crate) fn mend(&mut self, agent: &str, cut: Cut) {
        match cut {
            Cut::Lost | Cut::Unheard | Cut::Deaf => self.sim().repair(agent, MN),
            Cut::Held => self.sim().release(agent, MN),
        }
    }
}
