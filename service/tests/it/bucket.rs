//! An object store for tests, which speaks S3 (`moto`), behind a door that can be shut, and what lies in it.
//!
//! In CI a test that cannot have it fails; elsewhere it says that it was left out. `pip install moto[server]` is all it needs.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How the door behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// As when nobody is there: connections end at once.
    Shut,
    /// Every request is answered with 503.
    Busy,
    /// Answers come after so long.
    Slow(Duration),
}

struct State {
    door: Door,
    /// What has gone through, to be cut when the door changes.
    open: Vec<TcpStream>,
    server: String,
}

/// A bucket of a server of its own.
pub(super) struct Bucket {
    server: Child,
    state: Arc<Mutex<State>>,
    /// Of the door.
    address: String,
}

const NAME: &str = "snapshots";

/// Whether the server can be had here.
fn can_have() -> bool {
    let mut command = Command::new("python3");
    let status = command.args(["-c", "import moto.server, flask"]).stderr(Stdio::null()).status();
    let can = status.is_ok_and(|status| status.success());
    assert!(can || std::env::var_os("CI").is_none(), "CI needs an object store: pip install moto[server]");
    can
}

fn serve() -> (Child, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("python3")
        .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (address, begun) = (format!("127.0.0.1:{port}"), Instant::now());
    while TcpStream::connect(&address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the object store does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    (child, address)
}

impl Bucket {
    /// None if it cannot be had here.
    pub(super) fn start() -> Option<Self> {
        if !can_have() {
            println!("left out: an object store needs `pip install moto[server]`");
            return None;
        }
        let (server, address) = serve();
        let state = Arc::new(Mutex::new(State { door: Door::Open, open: Vec::new(), server: address }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = state.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|client| pass(client, &shared)));
        let bucket = Self { server, state, address };
        assert_eq!(bucket.request(reqwest::Method::PUT, "", Vec::new()).0, 200);
        Some(bucket)
    }

    /// What a process is told of it.
    pub(super) fn variables(&self) -> [(&'static str, String); 5] {
        let of = |name, value: &str| (name, value.to_owned());
        [
            of("AWS_ENDPOINT_URL", &format!("http://{}", self.address)),
            of("AWS_ALLOW_HTTP", "true"),
            of("AWS_REGION", "us-east-1"),
            of("AWS_ACCESS_KEY_ID", "test"),
            of("AWS_SECRET_ACCESS_KEY", "test"),
        ]
    }

    pub(super) fn url(&self, prefix: &str) -> String {
        format!("s3://{NAME}/{prefix}")
    }

    pub(super) fn set(&self, door: Door) {
        let mut state = self.state.lock().unwrap();
        state.door = door;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The server is killed, and another comes up in its place, which knows of nothing.
    pub(super) fn replace(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        let (server, address) = serve();
        self.server = server;
        self.state.lock().unwrap().server = address;
        self.set(Door::Open);
        assert_eq!(self.request(reqwest::Method::PUT, "", Vec::new()).0, 200);
    }

    /// Past the door.
    fn request(&self, method: reqwest::Method, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let url = format!("http://{}/{NAME}{path}", self.state.lock().unwrap().server);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            // It wants to see a signature, and does not look at it.
            let sign = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
            let request = client.request(method, url).header("authorization", sign).body(body);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
        })
    }

    /// The names of all objects, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let (status, body) = self.request(reqwest::Method::GET, "?list-type=2", Vec::new());
        assert_eq!(status, 200);
        let text = String::from_utf8(body).unwrap();
        let mut names: Vec<String> =
            text.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        let (status, body) = self.request(reqwest::Method::GET, &format!("/{name}"), Vec::new());
        assert_eq!(status, 200, "{name}");
        body
    }

    pub(super) fn write(&self, name: &str, bytes: Vec<u8>) {
        assert_eq!(self.request(reqwest::Method::PUT, &format!("/{name}"), bytes).0, 200);
    }

    pub(super) fn delete(&self, name: &str) {
        assert_eq!(self.request(reqwest::Method::DELETE, &format!("/{name}"), Vec::new()).0, 204);
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// One connection, as the door is now.
fn pass(client: TcpStream, shared: &Arc<Mutex<State>>) {
    let shared = shared.clone();
    std::thread::spawn(move || {
        let door = shared.lock().unwrap().door;
        match door {
            Door::Shut => return,
            Door::Busy => return refuse(client),
            Door::Slow(wait) => std::thread::sleep(wait),
            Door::Open => {}
        }
        let server = {
            let mut state = shared.lock().unwrap();
            let Ok(server) = TcpStream::connect(&state.server) else { return };
            state.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
            server
        };
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (server, client);
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Hears a request to its end, and answers that there is too much to do.
fn refuse(mut client: TcpStream) {
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut bytes = [0; 65_536];
    while client.read(&mut bytes).is_ok_and(|count| count > 0) {}
    let _ = client.write_all(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}
