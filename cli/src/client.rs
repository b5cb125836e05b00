//! The connection to the coordinator: made once, checked for what can be known before, shared by all calls.

use std::path::Path;

use proto::MAX_MESSAGE;
use proto::tls::{self, Identity};
use proto::v1::agents_client::AgentsClient;
use proto::v1::builds_client::BuildsClient;
use proto::v1::generations_client::GenerationsClient;
use proto::v1::osimages_client::OsimagesClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::failure::{Endpoint, Failure};
use crate::format;
use crate::profile::Profile;

/// A way to the coordinator. Clones share the connection, which is made again by itself when it breaks.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    endpoint: Endpoint,
}

impl Client {
    /// Connects as the profile says.
    pub async fn connect(profile: &Profile) -> Result<Self, Failure> {
        let endpoint =
            Endpoint { address: profile.coordinator.clone(), identity: profile.identity.display().to_string() };
        let identity = Identity::load(&profile.identity).map_err(|error| Failure::of_tls(&error, &endpoint))?;
        check_expiry(&identity, &profile.identity, format::now_ms())?;
        match tls::connect(&profile.coordinator, &identity).await {
            Ok(channel) => Ok(Self::over(channel, endpoint)),
            Err(error) => Err(Failure::of_tls(&error, &endpoint)),
        }
    }

    /// Uses a connection that exists.
    pub fn over(channel: Channel, endpoint: Endpoint) -> Self {
        Self { channel, endpoint }
    }

    /// Whom it talks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the coordinator's answer means to the user.
    pub fn failure(&self, status: &Status) -> Failure {
        Failure::of_status(status, &self.endpoint)
    }

    /// Builds.
    pub fn builds(&self) -> BuildsClient<Channel> {
        BuildsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Osimages. Stanza files and plans may be as large as a message can be.
    pub fn osimages(&self) -> OsimagesClient<Channel> {
        OsimagesClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Agents.
    pub fn agents(&self) -> AgentsClient<Channel> {
        AgentsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Generations.
    pub fn generations(&self) -> GenerationsClient<Channel> {
        GenerationsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// An expired certificate is known before anybody is asked, and then the message can say when it ran out.
fn check_expiry(identity: &Identity, dir: &Path, now_ms: i64) -> Result<(), Failure> {
    let leaf = identity.chain().ok().and_then(|chain| chain.into_iter().next());
    // What can't be read here is refused, with its reason, where the connection is made of it.
    let Some(peer) = leaf.and_then(|der| tls::peer::read(&der).ok()) else { return Ok(()) };
    if peer.expires_ms > now_ms {
        return Ok(());
    }
    let when = format::moment(peer.expires_ms);
    Err(Failure::refused(format!("the certificate in `{}` expired on {when}", dir.display())).hint(format!(
        "`imgctl-coordinator issue --name {} --role {} --out DIR` makes a new one",
        peer.caller.name, peer.caller.role
    )))
}
