//! A coordinator of a few lines that does what a test tells it: assigns one attempt, breaks off, drops.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    reason = "a test fails by panicking, tells whoever runs it by hand, and doesn't need all of it"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::config::Config;
use proto::tls::{COORDINATOR_NAME, Identity, server};
use proto::v1;
use proto::v1::agent_message::Message as FromAgent;
use proto::v1::coordinator_message::Message as ToAgent;
use proto::v1::sessions_server::{Sessions, SessionsServer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the coordinator does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// Of the one attempt that it assigns, 7.2.
    pub(crate) plan: String,
    /// The first session ends as soon as the attempt is assigned.
    pub(crate) break_after_assign: bool,
    /// The first push of a log ends after its first batch, unacknowledged.
    pub(crate) break_first_log: bool,
    /// What it takes to write a batch of a log.
    pub(crate) slow_log: Duration,
    /// It has a fault of its own that keeps it from giving the plan.
    pub(crate) no_plan: bool,
    /// How long stages may be silent.
    pub(crate) silence: Vec<v1::StageSilence>,
    /// It takes no byte of an archive, though it lives.
    pub(crate) takes_no_archive: bool,
}

/// The limit of one stage.
pub(crate) fn silence(stage: &str, seconds: u32) -> v1::StageSilence {
    v1::StageSilence { stage: stage.to_owned(), seconds }
}

/// What it heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Hello(v1::Hello),
    Event(v1::Event),
}

#[derive(Debug, Default)]
struct Seen {
    sessions: u32,
    pushes: u32,
    log: Vec<String>,
    log_at_last_event: usize,
    acknowledged: u64,
    uploaded: Vec<u8>,
    uploads: u32,
}

#[derive(Debug, Clone)]
struct Service {
    script: Script,
    seen: Arc<Mutex<Seen>>,
    heard: mpsc::Sender<Heard>,
    drops: broadcast::Sender<()>,
}

/// The coordinator and the agent's configuration for it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) config: Config,
    _state: tempfile::TempDir,
    heard: mpsc::Receiver<Heard>,
    seen: Arc<Mutex<Seen>>,
    drops: broadcast::Sender<()>,
}

const ATTEMPT: v1::AttemptRef = v1::AttemptRef { build: 7, attempt: 2 };

fn issue(ca: &CertifiedIssuer<'_, KeyPair>, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let cert = params.signed_by(&key, ca).unwrap();
    Identity::new(cert.pem(), key.serialize_pem(), ca.pem())
}

impl Peer {
    pub(crate) async fn start(script: Script) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let state = tempfile::tempdir_in("/var/tmp").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::new(listener.local_addr().unwrap().to_string(), state.path());
        config.worker_program = Some(env!("CARGO_BIN_EXE_imgctl-agent").into());
        config.min_scratch_free = 0;
        config.install_dir = "/nowhere".into();
        issue(&ca, "node1").store(&config.identity()).unwrap();
        let tls = server::config(&issue(&ca, COORDINATOR_NAME)).unwrap();
        let (incoming, accepting) = server::incoming(listener, tls);
        tokio::spawn(accepting);
        let (sender, heard) = mpsc::channel(1000);
        let (drops, _) = broadcast::channel(4);
        let seen = Arc::<Mutex<Seen>>::default();
        let service = Service { script, seen: seen.clone(), heard: sender, drops: drops.clone() };
        let server = tonic::transport::Server::builder().add_service(SessionsServer::new(service));
        tokio::spawn(server.serve_with_incoming(incoming));
        Self { config, _state: state, heard, seen, drops }
    }

    pub(crate) fn agent(&self, shutdown: CancellationToken) -> JoinHandle<Result<(), agent::AgentError>> {
        tokio::spawn(agent::run(self.config.clone(), shutdown))
    }

    /// The agent as a process of its own; its log is in `agent.log` beside its state.
    pub(crate) fn process(&self) -> Process {
        let config = &self.config;
        let (path, log) = (config.state_dir.join("agent.toml"), config.state_dir.join("agent.log"));
        let mut text = format!(
            "coordinator = {:?}\nstate_dir = {:?}\nmin_scratch_free = 0\ninstall_dir = {:?}\n",
            config.coordinator, config.state_dir, config.install_dir
        );
        if config.install == agent::config::Install::Local {
            text.push_str("install = \"local\"\n");
        }
        if let Some(worker) = &config.worker_program {
            text.push_str(&format!("worker_program = {worker:?}\n"));
        }
        std::fs::write(&path, text).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_imgctl-agent"));
        command.arg("run").arg("--config").arg(path).stdin(std::process::Stdio::null());
        Process(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    pub(crate) fn agents_log(&self) -> String {
        std::fs::read_to_string(self.config.state_dir.join("agent.log")).unwrap()
    }

    /// A script stands in for the agent's worker; its third argument is the order.
    pub(crate) fn work_by(&mut self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let program = self.config.state_dir.join("worker");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.config.worker_program = Some(program);
    }

    pub(crate) async fn next(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("the agent said nothing").unwrap()
    }

    pub(crate) async fn next_hello(&mut self) -> v1::Hello {
        loop {
            if let Heard::Hello(hello) = self.next().await {
                return hello;
            }
        }
    }

    pub(crate) async fn until_stage(&mut self, stage: &str) {
        use v1::event::Event as Wire;
        loop {
            let Heard::Event(v1::Event { event: Some(event), .. }) = self.next().await else { continue };
            match event {
                Wire::StageStarted(started) if started.stage == stage => return,
                Wire::StageStarted(_) | Wire::StageEnded(_) => {}
                last => panic!("it ended before {stage}: {last:?}"),
            }
        }
    }

    /// Every event up to the last of the attempt, each once.
    pub(crate) async fn events_to_the_last(&mut self) -> Vec<v1::Event> {
        let mut events: Vec<v1::Event> = Vec::new();
        loop {
            let Heard::Event(event) = self.next().await else { continue };
            if events.iter().all(|known| known.number != event.number) {
                events.push(event.clone());
            }
            use v1::event::Event as Wire;
            if !matches!(event.event, Some(Wire::StageStarted(_) | Wire::StageEnded(_))) {
                return events;
            }
        }
    }

    pub(crate) async fn drop_attempt(&self) {
        self.drops.send(()).unwrap();
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.seen.lock().unwrap().log.clone()
    }

    /// How many lines had come before the last event did.
    pub(crate) fn log_at_last_event(&self) -> usize {
        self.seen.lock().unwrap().log_at_last_event
    }

    pub(crate) fn uploaded(&self) -> Vec<u8> {
        self.seen.lock().unwrap().uploaded.clone()
    }

    /// Waits for a fact on the agent's disk.
    pub(crate) async fn settled(&self, fact: impl Fn(&Config) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !fact(&self.config) {
            assert!(tokio::time::Instant::now() < deadline, "it never came true");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A running agent; killed if a test fails.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) std::process::Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "the agent does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    async fn speak(
        self,
        mut inbound: Streaming<v1::AgentMessage>,
        out: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
    ) {
        let mut drops = self.drops.subscribe();
        loop {
            tokio::select! {
                Ok(()) = drops.recv() => {
                    let drop = v1::Drop { attempt: Some(ATTEMPT), reason: "the test said so".to_owned() };
                    say(&out, ToAgent::Drop(drop)).await;
                }
                message = inbound.message() => {
                    let Ok(Some(message)) = message else { return };
                    match message.message {
                        Some(FromAgent::Hello(hello)) => {
                            if !self.greet(hello, &out).await {
                                return;
                            }
                        }
                        Some(FromAgent::Event(event)) => {
                            let ack = v1::EventAck { attempt: event.attempt, number: event.number };
                            {
                                let mut seen = self.seen.lock().unwrap();
                                seen.acknowledged = event.number;
                                seen.log_at_last_event = seen.log.len();
                            }
                            self.heard.send(Heard::Event(event)).await.unwrap();
                            say(&out, ToAgent::Ack(ack)).await;
                        }
                        Some(FromAgent::Heartbeat(_) | FromAgent::Leaving(_) | FromAgent::Survey(_)) | None => {}
                    }
                }
            }
        }
    }

    /// False if the session is to break.
    async fn greet(&self, hello: v1::Hello, out: &mpsc::Sender<Result<v1::CoordinatorMessage, Status>>) -> bool {
        let (session, acknowledged) = {
            let mut seen = self.seen.lock().unwrap();
            seen.sessions += 1;
            (seen.sessions, seen.acknowledged)
        };
        let resume = hello
            .running
            .iter()
            .map(|attempt| v1::EventAck { attempt: Some(*attempt), number: acknowledged })
            .collect();
        self.heard.send(Heard::Hello(hello)).await.unwrap();
        say(
            out,
            ToAgent::Welcome(v1::Welcome { lease_ms: 5000, heartbeat_ms: 500, resume, time_ms: 0, install: None }),
        )
        .await;
        if session == 1 {
            let plan_digest = rootfs::digest::Digest::of(self.script.plan.as_bytes()).to_string();
            let (staging, osimage) = (".imgctl/staging/x".to_owned(), "compute".to_owned());
            say(
                out,
                ToAgent::Assign(v1::Assign {
                    attempt: Some(ATTEMPT),
                    plan_digest,
                    staging,
                    osimage,
                    silence: self.script.silence.clone(),
                    time_ms: 0,
                }),
            )
            .await;
        }
        !(self.script.break_after_assign && session == 1)
    }

    fn take(&self, push: v1::LogPush) -> v1::LogAck {
        let mut seen = self.seen.lock().unwrap();
        for (number, line) in (push.first_line..).zip(push.lines) {
            assert!(number <= seen.log.len() as u64 + 1, "a gap before line {number}");
            if number == seen.log.len() as u64 + 1 {
                seen.log.push(line.text);
            }
        }
        v1::LogAck { attempt: Some(ATTEMPT), next_line: seen.log.len() as u64 + 1, refused: false }
    }
}

async fn say(out: &mpsc::Sender<Result<v1::CoordinatorMessage, Status>>, message: ToAgent) {
    // The agent may be gone: that is what some tests are about.
    let _ = out.send(Ok(v1::CoordinatorMessage { message: Some(message) })).await;
}

#[tonic::async_trait]
impl Sessions for Service {
    type OpenStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;
    type FetchPlanStream = ReceiverStream<Result<v1::Chunk, Status>>;
    type FetchTreeStream = ReceiverStream<Result<v1::Chunk, Status>>;
    type PushLogStream = ReceiverStream<Result<v1::LogAck, Status>>;

    async fn open(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::OpenStream>, Status> {
        let (out, receiver) = mpsc::channel(100);
        tokio::spawn(self.clone().speak(request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_plan(&self, _: Request<v1::AttemptRef>) -> Result<Response<Self::FetchPlanStream>, Status> {
        if self.script.no_plan {
            return Err(Status::internal("internal error, request 5"));
        }
        let (out, receiver) = mpsc::channel(100);
        for piece in self.script.plan.as_bytes().chunks(100) {
            out.try_send(Ok(v1::Chunk { data: piece.to_vec().into() })).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_tree(&self, _: Request<v1::AttemptRef>) -> Result<Response<Self::FetchTreeStream>, Status> {
        Err(Status::failed_precondition("no script of this peer asks for initrds alone"))
    }

    async fn push_log(
        &self,
        request: Request<Streaming<v1::LogPush>>,
    ) -> Result<Response<Self::PushLogStream>, Status> {
        let (out, receiver) = mpsc::channel(100);
        let service = self.clone();
        let mut inbound = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(push)) = inbound.message().await {
                if !service.script.slow_log.is_zero() {
                    tokio::time::sleep(service.script.slow_log).await;
                }
                let ack = service.take(push);
                let pushes = {
                    let mut seen = service.seen.lock().unwrap();
                    seen.pushes += 1;
                    seen.pushes
                };
                if service.script.break_first_log && pushes == 1 {
                    return;
                }
                let _ = out.send(Ok(ack)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    /// The first breaks off in the middle.
    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadMessage>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        use v1::upload_message::Message;
        if self.script.takes_no_archive {
            return std::future::pending().await;
        }
        let uploads = {
            let mut seen = self.seen.lock().unwrap();
            seen.uploads += 1;
            seen.uploads
        };
        let mut inbound = request.into_inner();
        let mut bytes = Vec::new();
        let first = inbound.message().await?.and_then(|first| first.message);
        assert_eq!(first, Some(Message::Header(v1::UploadHeader { attempt: Some(ATTEMPT) })));
        while let Some(message) = inbound.message().await? {
            let Some(Message::Data(data)) = message.message else { panic!("a second header") };
            bytes.extend_from_slice(&data);
            if uploads == 1 {
                return Err(Status::unavailable("the test said so"));
            }
        }
        let answer = v1::UploadResponse { bytes: bytes.len() as u64 };
        self.seen.lock().unwrap().uploaded = bytes;
        Ok(Response::new(answer))
    }
}
