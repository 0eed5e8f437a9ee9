//! Arguments of `serve`.

use crate::config::Config;
use crate::failure::Failure;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `serve`; each wins over the file and the environment.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file; `tripline.toml` here if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder: everything durable.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The folder with rules, streams and lists.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Read topics of these brokers and write alerts to them, instead of taking events over HTTP.
    #[arg(long, value_name = "HOST:PORT[,..]")]
    kafka: Option<String>,
    /// Whose work this is: workers of one group share it.
    #[arg(long, value_name = "NAME", requires = "kafka")]
    group: Option<String>,
    /// For this machine only: no token is needed.
    #[arg(long)]
    dev: bool,
}

impl ServeArgs {
    /// The configuration with the flags over it.
    ///
    /// # Errors
    /// A file or variable that cannot be used.
    pub fn config(self) -> Result<Config, Failure> {
        let mut config = Config::find(self.config).map_err(Failure::usage)?;
        config.dev = self.dev;
        if let Some(data) = self.data {
            config.store.data = data;
        }
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        if let Some(rules) = self.rules {
            if !rules.is_dir() {
                return Err(Failure::usage(format!("--rules {}: no such folder", rules.display())));
            }
            config.rules.folder = Some(rules);
        }
        if let Some(brokers) = self.kafka {
            config.kafka.brokers = brokers;
        }
        if let Some(group) = self.group {
            config.kafka.group = group;
        }
        config.kafka.check().map_err(Failure::usage)?;
        if config.dev && !config.server.listen.ip().is_loopback() {
            let why = format!("--dev listens on this machine only, not on {}", config.server.listen);
            return Err(Failure::usage(why));
        }
        if !config.dev {
            config.token().map_err(Failure::usage)?;
        }
        Ok(config)
    }
}

/// Runs the command until it is told to stop.
///
/// # Errors
/// It cannot start.
pub async fn run_command(args: ServeArgs) -> Result<(), Failure> {
    let config = args.config()?;
    crate::telemetry::install_logs();
    super::run(config).await.map_err(|e| Failure::finding(format!("{e:#}")))
}

/// Runs a command on the service's runtime; 0 if it ends well.
///
/// # Errors
/// The command's own failure.
pub fn on_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome.map(|()| 0)
}
