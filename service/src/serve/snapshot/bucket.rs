//! A bucket of an object store that speaks S3, for threads that wait.
//!
//! Where it is and who we are say the usual variables: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ALLOW_HTTP`, and those of roles.

use axum::http;
use futures_util::TryStreamExt;
use http_body_util::BodyExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{ClientConfigKey, HttpResponse, HttpResponseBody, HttpService};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Further tries of a request that the store could not answer, before the caller hears of it.
const RETRIES: usize = 2;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    name: String,
    store: AmazonS3,
    runtime: Runtime,
}

impl Bucket {
    pub(super) fn open(name: &str, timeout: Duration) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("snapshots")
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: timeout, ..RetryConfig::default() };
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(name)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_http_connector(Connector { timeout })
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { name: name.to_owned(), store, runtime })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What begins with a prefix, without it.
    pub(super) fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        let path = Path::from(prefix);
        let found: Vec<_> =
            self.runtime.block_on(self.store.list(Some(&path)).try_collect()).map_err(failed)?;
        let own = |name: &str| Some(name.strip_prefix(path.as_ref())?.trim_start_matches('/').to_owned());
        Ok(found.iter().filter_map(|object| own(object.location.as_ref())).collect())
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = Path::from(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        self.runtime.block_on(read).map(Vec::from).map_err(failed)
    }

    /// `is_new`: refused if there is something by that name.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>, is_new: bool) -> io::Result<()> {
        let mode = if is_new { PutMode::Create } else { PutMode::Overwrite };
        let (path, options) = (Path::from(name), PutOptions::from(mode));
        let put = self.store.put_opts(&path, bytes.into(), options);
        self.runtime.block_on(put).map(drop).map_err(failed)
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        self.runtime.block_on(self.store.delete(&Path::from(name))).map_err(failed)
    }
}

fn failed(error: object_store::Error) -> io::Error {
    use object_store::Error as E;
    let kind = match &error {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } | E::Precondition { .. } => ErrorKind::AlreadyExists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Has the store's client speak through the HTTP client that webhooks use: one TLS stack in the program.
#[derive(Debug)]
struct Connector {
    timeout: Duration,
}

#[derive(Debug)]
struct Service(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let is_plain = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let client = reqwest::Client::builder()
            .https_only(!is_plain)
            .connect_timeout(CONNECT)
            .timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| object_store::Error::Generic { store: "S3", source: Box::new(e) })?;
        Ok(HttpClient::new(Service(client)))
    }
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Service {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Call<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string().parse().map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
            let mut own = reqwest::Request::new(parts.method, url);
            *own.headers_mut() = parts.headers;
            *own.body_mut() = Some(reqwest::Body::wrap(body));
            let answer = self.0.execute(own).await.map_err(trouble)?;
            let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
            Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(trouble))))
        })
    }
}

/// What kind of failure it is decides whether the request is tried again.
fn trouble(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}
