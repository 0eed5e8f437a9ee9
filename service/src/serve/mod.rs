//! `tripline serve`: store, matcher, HTTP and webhooks wired together.
//!
//! Start: open the store, replay its log silently, compare with what was committed, take the rules folder, listen.
//! Stop: no new requests, finish those in the queue, end.

mod args;
pub(crate) mod core;
pub(crate) mod crash;
pub(crate) mod embedded;
mod fault;
mod folder;
pub(crate) mod language;
pub(crate) mod matcher;
pub(crate) mod snapshot;
pub(crate) mod recover;
pub(crate) mod savepoint;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod view;

use crate::config::Config;
use crate::store::Store;
use anyhow::Context;
use matcher::{Answer, Ask, Request};
use status::Status;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use view::View;

pub(crate) use crate::clock::micros as now_micros;
pub use args::{ServeArgs, on_runtime, run_command};

/// What the parts of a running service share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) token: Option<String>,
    /// Bytes that wait for the matcher.
    pub(crate) queued: AtomicUsize,
    /// The store or Kafka refused to go on: nothing is taken any more.
    pub(crate) failed: AtomicBool,
    pub(crate) ready: AtomicBool,
    /// Alerts committed so far.
    pub(crate) committed: watch::Sender<u64>,
    /// True when the service drains.
    pub(crate) stopping: watch::Sender<bool>,
    /// Changes when an endpoint was put.
    pub(crate) endpoints: watch::Sender<u64>,
    pub(crate) started: i64,
    /// What the tasks tell; one, unless there are more.
    tasks: RwLock<Arc<[Arc<Status>]>>,
    view: RwLock<Arc<View>>,
    queue: SyncSender<Request>,
}

/// Why a request was not queued.
pub(crate) enum Refused {
    /// The queue is full.
    Full,
    /// The matcher is gone.
    Gone,
}

impl Shared {
    /// What the parts share, and what the matcher is asked.
    pub(crate) fn new(
        config: Config,
        store: Store,
        token: Option<String>,
    ) -> anyhow::Result<(Arc<Self>, Receiver<Request>)> {
        let (queue, requests) = sync_channel(config.ingest.queue.max(1));
        let shared = Self {
            config,
            token,
            queued: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            committed: watch::Sender::new(store.head()?.alerts),
            stopping: watch::Sender::new(false),
            endpoints: watch::Sender::new(0),
            started: now_micros(),
            tasks: RwLock::new(Arc::new([Arc::new(Status::new(0))])),
            view: RwLock::default(),
            store,
            queue,
        };
        Ok((Arc::new(shared), requests))
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What each task tells.
    pub(crate) fn tasks(&self) -> Arc<[Arc<Status>]> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There are so many tasks, and this is where they tell what they do.
    pub(crate) fn has_tasks(&self, count: i32) -> Arc<[Arc<Status>]> {
        let tasks: Arc<[Arc<Status>]> = (0..count).map(|number| Arc::new(Status::new(number))).collect();
        *self.tasks.write().unwrap_or_else(PoisonError::into_inner) = tasks.clone();
        tasks
    }

    /// Of the first task, or the only one.
    pub(crate) fn first_task(&self) -> Arc<Status> {
        self.tasks().first().cloned().unwrap_or_else(|| Arc::new(Status::new(0)))
    }

    /// Asks the matcher and waits for its answer.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Refused> {
        let (reply, answer) = oneshot::channel();
        let request = Request { ask, reply };
        let bytes = request.bytes();
        let waiting = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let refuse = |why| {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            Err(why)
        };
        if waiting > 0 && waiting + bytes > self.config.ingest.queue_bytes {
            return refuse(Refused::Full);
        }
        match self.queue.try_send(request) {
            Ok(()) => answer.await.map_err(|_| Refused::Gone),
            Err(TrySendError::Full(_)) => refuse(Refused::Full),
            Err(TrySendError::Disconnected(_)) => refuse(Refused::Gone),
        }
    }
}

/// A service that runs in this process.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    http: tokio::task::JoinHandle<std::io::Result<()>>,
    webhooks: tokio::task::JoinHandle<()>,
    matcher: std::thread::JoinHandle<()>,
    mirror: Option<std::thread::JoinHandle<()>>,
}

/// Starts a service.
///
/// # Errors
/// The store, the rules or the address cannot be used.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let token = if config.dev {
        anyhow::ensure!(
            config.server.listen.ip().is_loopback(),
            "--dev listens on this machine only, not on {}",
            config.server.listen
        );
        None
    } else {
        Some(config.token().map_err(anyhow::Error::msg)?)
    };
    crate::telemetry::install_metrics();
    let listener = tokio::net::TcpListener::bind(config.server.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.server.listen))?;
    let address = listener.local_addr()?;
    let (shared, matcher, ready) = tokio::task::spawn_blocking(move || open(config, token)).await??;
    let http = crate::api::spawn(listener, shared.clone());
    let webhooks = tokio::spawn(crate::sink::webhook::dispatch(shared.clone()));
    let mirror = match ready {
        Some(ready) => {
            ready.await.context("the worker is gone")?.map_err(anyhow::Error::msg)?;
            Some(crate::kafka::spawn_mirror(shared.clone())?)
        }
        None => None,
    };
    shared.ready.store(true, Ordering::Release);
    Ok(Running { address, shared, http, webhooks, matcher, mirror })
}

/// What a service that is open holds; the last is said when it is ready, if that takes time.
type Opened = (Arc<Shared>, std::thread::JoinHandle<()>, Option<oneshot::Receiver<Result<(), String>>>);

/// Opens the store, rebuilds the task and starts the matcher's thread.
fn open(config: Config, token: Option<String>) -> anyhow::Result<Opened> {
    let store = Store::open(&config.store.data)?;
    let source = config.kafka.source();
    store.belongs_to(&source)?;
    let is_kafka = config.kafka.is_used();
    let crashes = crash::Crashes::open(&config.store.data);
    let local = if is_kafka { None } else { Some(recover::recover(&store, &config)?) };
    let (shared, requests) = Shared::new(config, store, token)?;
    let thread = std::thread::Builder::new().name("matcher".into());
    let Some((core, point)) = local else {
        let (say, ready) = oneshot::channel();
        let cluster = crate::kafka::Brokers::new(&shared.config.kafka).map_err(|e| anyhow::anyhow!("{e}"))?;
        let door = crate::kafka::Door::new(shared.clone(), shared.first_task(), requests, say);
        let cluster = Arc::new(cluster);
        return Ok((shared, thread.spawn(move || crate::kafka::work(door, cluster, crashes))?, Some(ready)));
    };
    let matcher = matcher::Matcher::new(core, point, shared.clone(), shared.first_task());
    let embedded = embedded::Embedded::new(matcher, crashes);
    Ok((shared, thread.spawn(move || embedded.run(&requests))?, None))
}

impl Running {
    /// Time moves past the newest event: the end of recorded data.
    pub(crate) async fn finish_input(&self) {
        let _ = self.shared.ask(Ask::Finish).await;
    }

    /// Stops: no new requests, finish those that wait, end.
    ///
    /// # Errors
    /// The server ended with an error.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shared.ready.store(false, Ordering::Release);
        self.shared.stopping.send_replace(true);
        let http = tokio::time::timeout(Duration::from_secs(10), self.http).await;
        while let Err(Refused::Full) = self.shared.ask(Ask::Stop).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let matcher = self.matcher;
        let _ = tokio::task::spawn_blocking(move || matcher.join()).await;
        if let Some(mirror) = self.mirror {
            let _ = tokio::task::spawn_blocking(move || mirror.join()).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(10), self.webhooks).await;
        match http {
            Ok(Ok(result)) => Ok(result?),
            _ => Ok(()),
        }
    }
}

/// Runs a service until SIGTERM or Ctrl-C.
///
/// # Errors
/// It cannot start.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let running = tokio::select! {
        running = start(config) => running?,
        // Nothing was taken yet.
        _ = terminate.recv() => return Ok(()),
    };
    {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening http://{}", running.address)?;
        out.flush()?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("draining");
    running.stop().await
}

/// A time as answers show it.
pub(crate) fn rfc3339(micros: i64) -> String {
    crate::decode::time::format_rfc3339(micros)
}

/// Hash of a text, for ETags and idempotency keys.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(bytes))
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
