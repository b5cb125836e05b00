//! A coordinator that plays a script, for tests of what follows builds.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use proto::v1;
use proto::v1::builds_server::{Builds, BuildsServer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response};

use crate::client::Client;
use crate::failure::Endpoint;

/// A part of a stream that the coordinator answers with.
pub(crate) enum Answer<T> {
    Item(T),
    Break(tonic::Status),
}

/// A coordinator that plays a script: one list of answers for each call of `Logs`, one build for each `Get`.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) logs: Arc<Mutex<VecDeque<Vec<Answer<v1::LogLines>>>>>,
    pub(crate) watches: Arc<Mutex<VecDeque<Vec<Answer<v1::Build>>>>>,
    pub(crate) builds: Arc<Mutex<VecDeque<v1::Build>>>,
    pub(crate) asked: Arc<Mutex<Vec<(u32, u64)>>>,
}

impl Script {
    /// Plays it on a port of its own; the client is connected, the server ends with the handle's abort.
    pub(crate) async fn play(&self) -> (Client, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder().add_service(BuildsServer::new(self.clone()));
        let server = server.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        (Client::over(channel, Endpoint { address, identity: "/id".into() }), server)
    }
}

fn play<T: Send + 'static>(script: Vec<Answer<T>>) -> Answers<T> {
    let answers = script.into_iter().map(|answer| match answer {
        Answer::Item(item) => Ok(item),
        Answer::Break(status) => Err(status),
    });
    Box::pin(tokio_stream::iter(answers.collect::<Vec<_>>()))
}

/// A queue that is played once.
pub(crate) fn queue<T>(items: impl IntoIterator<Item = T>) -> Arc<Mutex<VecDeque<T>>> {
    Arc::new(Mutex::new(items.into_iter().collect()))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl Builds for Script {
    type WatchStream = Answers<v1::Build>;
    type LogsStream = Answers<v1::LogLines>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, tonic::Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().push((request.attempt, request.from_line));
        let script = self.logs.lock().unwrap().pop_front();
        let script = script.ok_or_else(|| tonic::Status::not_found("the script is at its end"))?;
        Ok(Response::new(play(script)))
    }

    async fn get(&self, _: Request<v1::GetBuildRequest>) -> Result<Response<v1::Build>, tonic::Status> {
        let mut builds = self.builds.lock().unwrap();
        let build = if builds.len() > 1 { builds.pop_front() } else { builds.front().cloned() };
        build.map(Response::new).ok_or_else(|| tonic::Status::not_found("no build"))
    }

    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }

    async fn list(&self, _: Request<v1::ListBuildsRequest>) -> Result<Response<v1::ListBuildsResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }

    async fn watch(&self, _: Request<v1::WatchBuildRequest>) -> Result<Response<Self::WatchStream>, tonic::Status> {
        let script = self.watches.lock().unwrap().pop_front();
        let script = script.ok_or_else(|| tonic::Status::not_found("the script is at its end"))?;
        Ok(Response::new(play(script)))
    }

    async fn cancel(&self, _: Request<v1::CancelBuildRequest>) -> Result<Response<v1::Build>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }

    async fn retry(&self, _: Request<v1::RetryBuildRequest>) -> Result<Response<v1::SubmitResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }
}
