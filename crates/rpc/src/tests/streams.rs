//! Deadlines, back-pressure and the end of a node, over real connections.

use std::sync::atomic::Ordering;
use std::time::Duration;

use exchange::{Deadline, Hop, PeerError, Peers};
use futures_util::StreamExt;
use model::RecordKey;
use model::query::{ContentQuery, QueryContext};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1 as reflection_v1;
use tonic_reflection::pb::v1alpha as reflection_v1alpha;
use wire::v1;

use super::fixture::{Mesh, PREFECTURE, PROVINCE, TestNode, connect, soon, until};
use crate::connection::MAX_CONTENT_STREAMS;

fn content() -> ContentQuery {
    ContentQuery {
        key: RecordKey([1; 16]),
        custodian_path: None,
        as_filed: false,
        offset: 0,
        context: QueryContext::default(),
    }
}

fn within<T>(message: T, millis: u64) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_millis(millis));
    request
}

#[tokio::test]
async fn a_call_that_hangs_is_answered_by_its_deadline() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    let mut client = channel.node();
    let call = client.get_status(within(v1::GetStatusRequest {}, 60));
    let status = soon("an answer", call).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(crate::error::from_status(&status).unwrap().reason(), "DEADLINE");
    assert_eq!(node.tiny.alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stream_that_never_ends_does_by_its_deadline() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    let request = within(v1::RetrieveDocumentRequest::default(), 150);
    let mut parts = channel.documents().retrieve(request).await.unwrap().into_inner();
    let end = async {
        loop {
            match parts.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an endless stream ended well"),
                Err(status) => return status,
            }
        }
    };
    assert_eq!(soon("the end", end).await.code(), Code::DeadlineExceeded);
    until("the handler is gone", || node.tiny.alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_caller_that_goes_cancels_its_work() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    let alive = node.tiny.alive.clone();
    let mut client = channel.node();
    {
        let call = client.get_status(v1::GetStatusRequest {});
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("it hangs"),
            () = until("the call is there", || alive.load(Ordering::SeqCst) == 1) => {}
        }
    }
    until("the work is cancelled", || alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_reader_that_stops_holds_back_the_custodian() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let _status = child.dial_parent(parent.listen().await);
    until("the parent can be called", || child.neighbours.callable(&Hop::Parent)).await;
    let deadline = Deadline::after(Duration::from_secs(60));
    let mut held = Vec::new();
    for _ in 0..MAX_CONTENT_STREAMS {
        let mut content = child.neighbours.retrieve(&Hop::Parent, content(), deadline).await.unwrap();
        assert_eq!(content.entry.document_id, "endless");
        assert_eq!(content.chunks.next().await.unwrap().unwrap().len(), 256 * 1024);
        held.push(content);
    }
    // Other calls go through while every stream stands still.
    let channel = child.neighbours.channel(&Hop::Parent).unwrap();
    soon("a ping", channel.node().ping(v1::PingRequest {})).await.unwrap();
    // Windows and buffers of a stream hold a few chunks of 256 KiB; nothing runs ahead without bound.
    let made = parent.tiny.chunks.load(Ordering::SeqCst);
    assert!(made <= MAX_CONTENT_STREAMS * 8, "{made} chunks were made for readers that took one each");
    // One more waits for a place and gives up at its deadline.
    let soon_over = Deadline::after(Duration::from_millis(50));
    let one_more = child.neighbours.retrieve(&Hop::Parent, content(), soon_over).await.unwrap_err();
    assert_eq!(one_more, PeerError::Deadline { to: PROVINCE.into() });
    drop(held);
    until("the streams are gone", || parent.tiny.alive.load(Ordering::SeqCst) == 0).await;
    child.neighbours.retrieve(&Hop::Parent, content(), deadline).await.unwrap();
}

#[tokio::test]
async fn content_that_comes_too_slowly_ends_by_the_deadline() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let _status = child.dial_parent(parent.listen().await);
    until("the parent can be called", || child.neighbours.callable(&Hop::Parent)).await;
    let deadline = Deadline::after(Duration::from_millis(200));
    let mut content = child.neighbours.retrieve(&Hop::Parent, content(), deadline).await.unwrap();
    let end = async {
        loop {
            if let Err(error) = content.chunks.next().await.expect("an endless stream does not end well") {
                return error;
            }
        }
    };
    assert_eq!(soon("the end", end).await.reason(), "DEADLINE");
}

#[tokio::test]
async fn a_node_that_stops_ends_its_streams_in_bounded_time() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    let mut parts =
        channel.documents().retrieve(v1::RetrieveDocumentRequest::default()).await.unwrap().into_inner();
    parts.message().await.unwrap();
    node.stop().await;
    let end = async { while let Ok(Some(_)) = parts.message().await {} };
    soon("the stream ends", end).await;
    assert!(connect(&mesh.operator(PROVINCE), PREFECTURE, address).await.is_err());
}

#[tokio::test]
async fn health_follows_its_condition() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    node.drain.spawn(crate::server::follow(node.health.clone(), node.drain.clone(), || false));
    let mut client = HealthClient::new(channel);
    for service in ["", "tiermesh.v1.PatientService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let not_serving = async {
            loop {
                match client.check(request.clone()).await {
                    Ok(reply) if reply.get_ref().status == ServingStatus::NotServing as i32 => return,
                    Ok(_) => {}
                    Err(status) => assert_eq!(status.code(), Code::NotFound),
                }
            }
        };
        soon("not serving", not_serving).await;
    }
}

#[tokio::test]
async fn reflection_answers_in_both_versions() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();

    use reflection_v1::server_reflection_request::MessageRequest;
    use reflection_v1::server_reflection_response::MessageResponse;
    let list = MessageRequest::ListServices(String::new());
    let request = reflection_v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let requests = futures_util::stream::iter([request]);
    let mut client = reflection_v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = reply else { panic!("another answer") };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["tiermesh.v1.PatientService", "tiermesh.v1.FeedService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
    }

    use reflection_v1alpha::server_reflection_request::MessageRequest as OldRequest;
    let list = OldRequest::FileContainingSymbol("tiermesh.v1.DocumentService".to_owned());
    let request =
        reflection_v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let requests = futures_util::stream::iter([request]);
    let mut client = reflection_v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
    use reflection_v1alpha::server_reflection_response::MessageResponse as OldResponse;
    assert!(
        matches!(reply, OldResponse::FileDescriptorResponse(files) if !files.file_descriptor_proto.is_empty())
    );
}
