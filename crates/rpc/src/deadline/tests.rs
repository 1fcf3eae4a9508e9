//! Time is paused here, so nothing waits and every moment is exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use http_body::Body as _;
use tower::{Service, ServiceExt};

use super::*;

fn request(path: &str, timeout: Option<&str>) -> Request<()> {
    let mut request = Request::builder().uri(path);
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    request.body(()).unwrap()
}

/// Notes that what it belongs to was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn body_of(frames: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Body {
    let frames = frames.map(|data| Ok::<_, Status>(Frame::data(data)));
    Body::new(Frames(Box::pin(frames)))
}

struct Frames(Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Status>> + Send>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.as_mut().poll_next(context)
    }
}

async fn call<F, Fut>(handler: F, request: Request<()>) -> Response<Body>
where
    F: Fn(Request<()>) -> Fut,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let inner = tower::service_fn(|request| {
        let reply = handler(request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut service = Deadlines::new(inner);
    service.ready().await.unwrap().call(request).await.unwrap()
}

/// The next frame, or a failure when none comes in a day.
async fn next_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
    tokio::time::timeout(Duration::from_secs(24 * 3600), frame).await.expect("a frame comes")
}

fn code(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status").map(|value| value.to_str().unwrap())
}

#[test]
fn timeouts_are_read_strictly() {
    let read = |text: &str| parse(&HeaderValue::from_str(text).unwrap()).ok();
    for (text, millis) in
        [("1H", 3_600_000), ("2M", 120_000), ("3S", 3000), ("40m", 40), ("5000u", 5), ("6000000n", 6)]
    {
        assert_eq!(read(text), Some(Duration::from_millis(millis)), "{text}");
    }
    assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    for text in ["", "S", "10", "1s", "1 S", " 1S", "+1S", "-1S", "1.5S", "123456789S", "１S", "1SS", "0x1S"]
    {
        assert_eq!(parse(&HeaderValue::from_bytes(text.as_bytes()).unwrap()).ok(), None, "{text}");
    }
}

#[test]
fn every_call_but_the_feed_has_a_bound() {
    let headers = HeaderMap::new();
    let bound = |path: &str| allowed(path, &headers).unwrap();
    assert_eq!(bound("/tiermesh.v1.PatientService/Register"), Some(UNARY));
    assert_eq!(bound("/tiermesh.v1.DocumentService/Retrieve"), Some(STREAM));
    assert_eq!(bound(ENDLESS), None);
    let greedy = request("/x", Some("99999999H"));
    assert_eq!(allowed("/tiermesh.v1.PatientService/Find", greedy.headers()).unwrap(), Some(LONGEST));
}

#[test]
fn the_paths_are_those_of_the_protocol() {
    let descriptors = wire::DESCRIPTORS;
    let holds = |name: &str| descriptors.windows(name.len()).any(|window| window == name.as_bytes());
    for path in STREAMS.iter().chain([&ENDLESS]).filter(|path| path.starts_with("/tiermesh")) {
        let (service, method) = path.trim_start_matches("/tiermesh.v1.").split_once('/').unwrap();
        assert!(holds(service) && holds(method), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_dropped_and_answered_for() {
    let dropped = Arc::new(AtomicBool::new(false));
    let note = dropped.clone();
    let hang = move |_| {
        let note = Dropped(note.clone());
        async move {
            let _note = note;
            std::future::pending().await
        }
    };
    let reply = call(hang, request("/a/b", Some("70m"))).await;
    assert_eq!(code(reply.headers()), Some("4"));
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_hangs_ends_in_its_trailers() {
    let dropped = Arc::new(AtomicBool::new(false));
    let note = dropped.clone();
    let started = Instant::now();
    let stream = move |_| {
        let note = Dropped(note.clone());
        let first = futures_util::stream::iter([Bytes::from_static(b"one")]);
        let frames = first.chain(futures_util::stream::pending()).inspect(move |_| {
            let _ = &note;
        });
        std::future::ready(Response::new(body_of(frames)))
    };
    let mut body = call(stream, request("/a/b", Some("5S"))).await.into_body();
    let mut next = async || next_frame(&mut body).await;
    assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "one");
    let end = next().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(code(&end), Some("4"));
    assert!(started.elapsed() >= Duration::from_secs(5));
    assert!(dropped.load(Ordering::SeqCst));
    assert!(next().await.is_none() && body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_always_has_more_ends_too() {
    let stream = |_| {
        let frames = futures_util::stream::repeat(Bytes::from_static(b"more"));
        std::future::ready(Response::new(body_of(frames)))
    };
    let mut body = call(stream, request("/a/b", Some("5S"))).await.into_body();
    let mut next = async || next_frame(&mut body).await;
    assert!(next().await.unwrap().unwrap().is_data());
    tokio::time::advance(Duration::from_secs(6)).await;
    let end = next().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(code(&end), Some("4"));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_time_goes_through_whole() {
    let reply = |request: Request<()>| {
        let deadline: &Deadline = request.extensions().get().unwrap();
        assert!(deadline.remaining() <= UNARY && deadline.remaining() > UNARY / 2);
        std::future::ready(Response::new(body_of(futures_util::stream::iter([Bytes::from_static(b"all")]))))
    };
    let mut body = call(reply, request("/a/b", None)).await.into_body();
    let mut next = async || next_frame(&mut body).await;
    assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "all");
    assert!(next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_feed_has_no_deadline_of_its_own() {
    let slow = |request: Request<()>| {
        assert!(request.extensions().get::<Deadline>().is_none());
        async {
            tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
            Response::new(Body::empty())
        }
    };
    let reply = call(slow, request(ENDLESS, None)).await;
    assert_eq!(code(reply.headers()), None);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_timeout_is_refused() {
    let never = |_| async { panic!("the handler must not be asked") };
    let reply = call(never, request("/a/b", Some("soon"))).await;
    assert_eq!(code(reply.headers()), Some("3"));
}
