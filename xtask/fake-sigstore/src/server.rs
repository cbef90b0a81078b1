//! An HTTP/1 server for synchronous handlers, which the lab uses as well.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// Answers every request with `handler`, on threads for blocking work. Ends only with an error of the listener.
pub async fn serve<F>(listener: TcpListener, handler: F) -> std::io::Result<Infallible>
where
    F: Fn(&Request<Bytes>) -> Response<Vec<u8>> + Send + Sync + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let handler = Arc::new(handler);
    loop {
        let (stream, _) = listener.accept().await?;
        let handler = Arc::clone(&handler);
        let service = service_fn(move |request: Request<Incoming>| {
            let handler = Arc::clone(&handler);
            async move {
                let (head, body) = request.into_parts();
                let request = Request::from_parts(head, body.collect().await?.to_bytes());
                let response = tokio::task::spawn_blocking(move || handler(&request)).await;
                // A panic of the handler was printed when it happened.
                Ok::<_, hyper::Error>(response.unwrap_or_default().map(|body| Full::new(Bytes::from(body))))
            }
        });
        tokio::spawn(async move {
            // An aborted connection concerns only its client.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
