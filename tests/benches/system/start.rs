//! From a submission to the start of its worker: real submissions to a real agent, cancelled once they have started.

use std::time::{Duration, Instant};

use proto::tls::{Identity, connect};
use proto::v1;
use proto::v1::build_state::State;
use tests::Site;

use crate::figures::Samples;

const ROUNDS: usize = 200;

pub(crate) fn run() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", "linux-image-cloud-amd64\ndracut\ndracut-network\nsystemd\nudev\n", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (answered, started) = runtime.block_on(rounds(&site));
    println!("submission answered (resolved, on disk): {}", answered.summary());
    println!("worker at its first stage, as a watcher sees it: {}", started.summary());
}

async fn rounds(site: &Site) -> (Samples, Samples) {
    let channel = connect(&site.cli.coordinator, &Identity::load(&site.cli.identity).unwrap()).await.unwrap();
    let mut builds = v1::builds_client::BuildsClient::new(channel.clone());
    let mut agents = v1::agents_client::AgentsClient::new(channel);
    let (mut answered, mut started) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let names = vec!["a".to_owned()];
        let part = v1::Part::Genimage.into();
        let request = v1::SubmitRequest { names, part, discard_edits: true, ..Default::default() };
        let queued = builds.submit(request).await.unwrap().into_inner();
        answered.push(began.elapsed());
        let id = queued.builds[0].id;
        let mut watched = builds.watch(v1::WatchBuildRequest { id }).await.unwrap().into_inner();
        while let Some(build) = watched.message().await.unwrap() {
            if matches!(build.state.and_then(|state| state.state), Some(State::Running(_))) {
                break;
            }
        }
        started.push(began.elapsed());
        builds.cancel(v1::CancelBuildRequest { id }).await.unwrap();
        // Until its slot is free again.
        while !agents.list(v1::ListAgentsRequest {}).await.unwrap().into_inner().agents[0].work.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    (Samples::new(answered), Samples::new(started))
}
