//! A service as a process of its own, in a folder of its own; both are gone with it.

use crate::commands::bench::process::cpu_seconds_of;
use crate::failure::Failure;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) struct Served {
    child: Child,
    pub(super) address: String,
    folder: tempfile::TempDir,
}

impl Served {
    /// With these rules and this configuration; returns when it says that it is ready.
    ///
    /// # Errors
    /// It does not start; what it said is in the message.
    pub(super) fn start(rules: &str, config: &str) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("tripline-bench").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("rules"))?;
        fs::write(path("rules").join("bench.cep"), rules)?;
        fs::write(path("tripline.toml"), config)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--config"])
            .arg(path("tripline.toml"))
            .arg("--data")
            .arg(path("data"))
            .arg("--rules")
            .arg(path("rules"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(path("log"))?)
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening http://").unwrap_or_default().to_owned();
        let served = Self { child, address, folder };
        match served.address.is_empty() {
            true => Err(Failure::finding(format!("the service does not start: {}", served.log()))),
            false => Ok(served),
        }
    }

    /// What it has said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(socket, "GET {path} HTTP/1.0\r\nhost: bench\r\n\r\n")?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        body.ok_or_else(|| Failure::finding(format!("{path}: no answer")))
    }

    /// A metric; 0 if there is none of that name.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn metric(&self, name: &str) -> Result<f64, Failure> {
        let text = self.get("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    /// CPU seconds of all its threads so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        cpu_seconds_of(&self.child.id().to_string())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
