//! The state of a build, from now until it is final, over any number of broken connections.

use model::id::BuildId;
use proto::v1;
use tonic::Status;

use super::patience::{Limits, Patience};
use super::{News, Reporter};
use crate::client::Client;
use crate::failure::Failure;
use crate::view::{BuildView, taken};

/// Reports every state that it sees until the build has ended.
pub async fn watch(client: &Client, build: BuildId, limits: Limits, reporter: &Reporter) -> Result<(), Failure> {
    let mut patience = Patience::new(limits);
    loop {
        let status = match once(client, build, &mut patience, reporter).await {
            Ok(true) => return Ok(()),
            Ok(false) => Status::unavailable("it ended its answer before the build ended"),
            Err(Broken::Status(status)) => status,
            Err(Broken::Failure(failure)) => return Err(failure),
        };
        patience.broke(&status, client, reporter).await?;
    }
}

enum Broken {
    Status(Status),
    Failure(Failure),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// One call; whether the build had ended when it did.
async fn once(client: &Client, build: BuildId, patience: &mut Patience, reporter: &Reporter) -> Result<bool, Broken> {
    let mut stream = client.builds().watch(v1::WatchBuildRequest { id: build.get() }).await?.into_inner();
    while let Some(wire) = stream.message().await? {
        patience.works(reporter).await;
        let view: BuildView = taken(client, wire).map_err(Broken::Failure)?;
        let ended = view.build.state.is_final();
        reporter.send(News::Changed(Box::new(view))).await;
        if ended {
            return Ok(true);
        }
    }
    Ok(false)
}
