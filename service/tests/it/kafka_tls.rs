//! A real Kafka that is spoken to by TLS alone: with a password (SCRAM), without, with a wrong one, with a wrong certificate.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::crash::{check_determinism, program};
use super::kafka::{attack, setting, start};
use super::kafka_crash::checked;
use super::serve::exchange;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RULES: &str = "\
stream auth { topic \"@.auth\" time ts in order id id idle 1h fields { user: string, ok: bool } }
rule guess { by user match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }
";
/// Of the user `tripline` of the node.
const PASSWORD: &str = "of the test";

/// Ports that nobody listens at just now.
fn free_ports() -> (u16, u16) {
    let [one, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    (one.local_addr().unwrap().port(), other.local_addr().unwrap().port())
}

/// A node that listens by TLS with SCRAM at the first port, and by TLS alone at the second.
struct Secure {
    node: Node,
    sasl: u16,
    tls: u16,
}

impl Secure {
    /// The tests share one.
    fn shared() -> Option<&'static Self> {
        static SECURE: OnceLock<Option<Secure>> = OnceLock::new();
        let start = || {
            let (sasl, tls) = free_ports();
            Some(Self { node: Node::start_secure("secure", (sasl, tls))?, sasl, tls })
        };
        SECURE.get_or_init(start).as_ref()
    }

    /// Rules and a configuration that reaches the node by TLS; with a password if there is one.
    fn setting(&self, test: &str, certificate: &str, password: Option<&str>) -> TempDir {
        let folder = setting(&self.node, test, RULES);
        self.configure(folder.path(), certificate, password);
        folder
    }

    /// Changes how the node is reached.
    fn configure(&self, folder: &Path, certificate: &str, password: Option<&str>) {
        let (config, secret) = (folder.join("tripline.toml"), folder.join("password"));
        let text = std::fs::read_to_string(&config).unwrap();
        let own = |line: &&str| !line.starts_with("brokers");
        let before = text.split("[kafka.client]").next().unwrap();
        let before: Vec<&str> = before.lines().filter(own).filter(|line| *line != "[kafka]").collect();
        let certificate = self.node.certificate(certificate);
        let port = if password.is_some() { self.sasl } else { self.tls };
        let mut text =
            format!("[kafka]\nbrokers = \"127.0.0.1:{port}\"\n{}\n[kafka.client]\n", before.join("\n"));
        text.push_str(&format!("\"ssl.ca.location\" = \"{}\"\n", certificate.display()));
        match password {
            Some(password) => {
                std::fs::write(&secret, password).unwrap();
                text.push_str(
                    "\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n",
                );
                text.push_str("\"sasl.username\" = \"tripline\"\n");
                text.push_str(&format!("\"sasl.password\" = \"file:{}\"\n", secret.display()));
            }
            None => text.push_str("\"security.protocol\" = \"SSL\"\n"),
        }
        std::fs::write(config, text).unwrap();
    }
}

/// What `broker-check` says of a configuration, and its exit code.
fn broker_check(folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(program())
        .args(["broker-check", "--config"])
        .arg(folder.join("tripline.toml"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn events_and_alerts_go_by_tls_with_and_without_a_password() {
    let Some(secure) = Secure::shared() else { return };
    let (node, test) = (&secure.node, unique("tls"));
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let folder = secure.setting(&test, "ca", Some(PASSWORD));
    let found = |count: usize| checked(&node.await_records(&topic("alerts"), count)).len();
    let service = start(&folder);
    attack(node, &topic("auth"), 0);
    assert_eq!(found(1), 1);
    service.kill();
    let service = start(&folder);
    check_determinism(&service);
    attack(node, &topic("auth"), 10);
    assert_eq!(found(2), 2);
    service.kill();
    secure.configure(folder.path(), "ca", None);
    let service = start(&folder);
    check_determinism(&service);
    attack(node, &topic("auth"), 20);
    assert_eq!(found(3), 3);
    assert_eq!(node.committed(&topic("alerts")).len(), 3);
}

/// A service that is not let in.
struct Outside {
    child: Child,
    folder: TempDir,
    address: String,
    begun: Instant,
}

impl Outside {
    fn start(folder: TempDir) -> Self {
        let address = format!("127.0.0.1:{}", free_ports().0);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program())
            .args(["serve", "--dev", "--listen", &address, "--config"])
            .arg(folder.path().join("tripline.toml"))
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--rules")
            .arg(folder.path().join("rules"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder, address, begun: Instant::now() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until it says why, in its status and in its log; it does not say it again and again without a pause.
    fn says(&mut self, word: &str) {
        let begun = Instant::now();
        let status = || exchange(&self.address, "GET", "/statusz", &[], b"").map(|answer| answer.json());
        let state = |status: &serde_json::Value| status["state"].as_str().unwrap_or_default().contains(word);
        while !status().is_ok_and(|status| state(&status)) {
            assert!(begun.elapsed() < Duration::from_secs(50), "{word}: {:?}\n{}", status(), self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(exchange(&self.address, "GET", "/readyz", &[], b"").unwrap().body.contains(word));
        assert!(self.log().contains(word), "{}", self.log());
        let (lines, seconds) = (self.log().lines().count() as u64, self.begun.elapsed().as_secs());
        assert!(lines <= 2 * seconds + 5, "{lines} lines in {seconds} s\n{}", self.log());
        assert!(self.child.try_wait().unwrap().is_none(), "it is gone: {}", self.log());
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_is_not_let_in_says_why_and_loses_nothing() {
    let Some(secure) = Secure::shared() else { return };
    let (node, test) = (&secure.node, unique("locked"));
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    attack(node, &topic("auth"), 0);
    let [password, authority] = [("ca", "a guess"), ("other", PASSWORD)]
        .map(|(certificate, password)| secure.setting(&test, certificate, Some(password)));
    let check = std::thread::spawn({
        let folder = secure.setting(&test, "ca", Some("a guess"));
        move || broker_check(folder.path())
    });
    let mut outside = [Outside::start(password), Outside::start(authority)];
    outside[0].says("uthentication failed");
    outside[1].says("certificate");
    let (code, text) = check.join().unwrap();
    assert!(code == Some(1) && text.contains("uthentication failed"), "{code:?} {text}");
    assert!(!node.topics().contains(&topic("control")), "it has decided something");
    drop(outside);
    let folder = secure.setting(&test, "ca", Some(PASSWORD));
    let service = start(&folder);
    let alerts = node.await_records(&topic("alerts"), 1);
    assert_eq!(checked(&alerts).len(), 1);
    check_determinism(&service);
}
