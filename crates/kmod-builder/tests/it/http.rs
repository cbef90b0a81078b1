//! Serves HTTP, and passes requests on to a real registry.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) type HttpResponse = Response<Full<Bytes>>;

/// Serves until the task is aborted.
pub(crate) fn serve<R: Future<Output = HttpResponse> + Send + 'static>(
    listener: TcpListener,
    answer: impl Fn(Request<Bytes>) -> R + Clone + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
                    Ok::<_, Infallible>(answer(Request::from_parts(parts, body)).await)
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { connection.await.ok() });
        }
    })
}

pub(crate) async fn forward(
    client: &reqwest::Client,
    registry: &str,
    request: Request<Bytes>,
) -> HttpResponse {
    let (mut parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let url = format!("http://{registry}{}", parts.uri);
    // The host stays the one that the client named, so that addresses in responses lead back here.
    parts.headers.remove("transfer-encoding");
    let response = client.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
    let mut passed = Response::builder().status(response.status());
    let headers = passed.headers_mut().unwrap();
    headers.clone_from(response.headers());
    headers.remove("transfer-encoding");
    if !is_head {
        headers.remove("content-length");
    }
    passed.body(Full::new(response.bytes().await.unwrap())).unwrap()
}
