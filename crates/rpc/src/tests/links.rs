//! Parent and child: both directions, and what happens when one of them goes.

use std::sync::Arc;
use std::time::Duration;

use exchange::{Deadline, ExchangeError, Hop, PeerError, Peers};
use identity::tls::Alpn;
use model::query::{PatientBy, PatientQuery, QueryContext, Reach};
use tokio::io::AsyncReadExt;
use wire::v1;

use super::fixture::{
    COUNTY, FixedClock, Mesh, PREFECTURE, PROVINCE, TestNode, connect, path, soon, tls, until,
};
use crate::WayState;

async fn connected(watch: &tokio::sync::watch::Receiver<WayState>, times: u64) {
    let mut watch = watch.clone();
    let made = watch.wait_for(|state| state.connected_since_ms.is_some() && state.connections >= times);
    soon("the link is made", made).await.unwrap();
}

fn query(limit: usize) -> PatientQuery {
    let by = PatientBy::Demographics { name: "n".into(), birth_date: String::new(), sex: String::new() };
    let context = QueryContext { hops: 3, trace_id: [9; 16], ..Default::default() };
    PatientQuery { by, limit, reach: Reach::Tree, context }
}

fn in_a_while() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

#[tokio::test]
async fn both_call_each_other_and_the_child_listens_nowhere() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let address = parent.listen().await;
    assert!(!child.neighbours.callable(&Hop::Parent));
    let _status = child.dial_parent(address);
    let down = Hop::Child(path(PREFECTURE));
    until("both can call", || child.neighbours.callable(&Hop::Parent) && parent.neighbours.callable(&down))
        .await;

    let up = child.neighbours.channel(&Hop::Parent).unwrap();
    // The tiny service answers with the depth of the caller: each knows the other by its certificate.
    assert_eq!(up.node().ping(v1::PingRequest {}).await.unwrap().into_inner().now_ms, 1);
    let down = parent.neighbours.channel(&down).unwrap();
    assert_eq!(down.node().ping(v1::PingRequest {}).await.unwrap().into_inner().now_ms, 0);
    child.stop().await;
    parent.stop().await;
}

#[tokio::test]
async fn a_restarted_parent_is_found_again() {
    let mesh = Mesh::new();
    let (first, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let address = first.listen().await;
    let status = child.dial_parent(address);
    connected(&status.up, 1).await;
    connected(&status.reverse, 1).await;
    first.stop().await;
    until("the loss is noted", || !child.neighbours.callable(&Hop::Parent)).await;
    let lost = child.neighbours.channel(&Hop::Parent).unwrap_err();
    assert!(matches!(&lost, PeerError::NotConnected { since_ms, .. } if *since_ms > 0), "{lost}");

    let second = TestNode::new(&mesh, PROVINCE);
    second.listen_at(address).await;
    connected(&status.up, 2).await;
    connected(&status.reverse, 2).await;
    let down = Hop::Child(path(PREFECTURE));
    until("both can call again", || {
        child.neighbours.callable(&Hop::Parent) && second.neighbours.callable(&down)
    })
    .await;
    assert!(!status.up.borrow().last_error.is_empty());
}

#[tokio::test]
async fn a_parent_that_is_not_there_is_said_so() {
    let mesh = Mesh::new();
    let child = TestNode::new(&mesh, PREFECTURE);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut status = child.dial_parent(address);
    let state =
        soon("an error", status.up.wait_for(|state| !state.last_error.is_empty())).await.unwrap().clone();
    assert!(state.last_error.contains("does the node run"), "{}", state.last_error);
    assert_eq!(state.connected_since_ms, None);
    child.stop().await;
}

#[tokio::test]
async fn the_newest_connection_of_a_child_wins() {
    let mesh = Mesh::new();
    let parent = TestNode::new(&mesh, PROVINCE);
    let address = parent.listen().await;
    let hop = Hop::Child(path(PREFECTURE));
    let (old, new) = (TestNode::new(&mesh, PREFECTURE), TestNode::new(&mesh, PREFECTURE));
    let _status = old.dial_parent(address);
    until("the first can be called", || parent.neighbours.callable(&hop)).await;
    let first = parent.neighbours.channel(&hop).unwrap();
    let _status = new.dial_parent(address);
    until("the second took its place", || {
        parent.neighbours.channel(&hop).is_ok_and(|channel| !channel.is(&first))
    })
    .await;
    assert_eq!(soon("the first is cut", first.ended()).await, "closed by this node");
}

#[tokio::test]
async fn an_expired_certificate_ends_its_connections() {
    let mesh = Mesh::new();
    let operator = mesh.operator(PROVINCE);
    let almost = Arc::new(FixedClock(operator.credentials().not_after_ms() - 50));
    let node = TestNode::with(&mesh, PROVINCE, almost);
    let address = node.listen().await;
    let channel = connect(&operator, PROVINCE, address).await.unwrap();
    soon("the connection ends", channel.ended()).await;
}

#[tokio::test]
async fn questions_travel_with_their_context() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let _status = child.dial_parent(parent.listen().await);
    until("the parent can be called", || child.neighbours.callable(&Hop::Parent)).await;
    let answer = child.neighbours.find_patients(&Hop::Parent, query(5), in_a_while()).await.unwrap();
    assert_eq!(answer.scope.answered_by, path(PROVINCE));
    let asked = parent.tiny.asked.lock().take().unwrap();
    let context = asked.context.unwrap();
    assert_eq!((asked.limit, context.hops, &context.trace_id[..]), (5, 3, &[9; 16][..]));
}

#[tokio::test]
async fn a_refusal_comes_back_as_it_was() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let _status = child.dial_parent(parent.listen().await);
    until("the parent can be called", || child.neighbours.callable(&Hop::Parent)).await;
    let refusal = ExchangeError::not_found("UNKNOWN_PATIENT", "nobody of this number");
    *parent.tiny.refuse.lock() = Some(refusal.clone());
    let error = child.neighbours.find_patients(&Hop::Parent, query(5), in_a_while()).await.unwrap_err();
    assert_eq!(error, PeerError::Refused { to: PROVINCE.into(), error: refusal });
}

#[tokio::test]
async fn a_neighbour_that_hangs_costs_the_deadline_and_no_more() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let _status = child.dial_parent(parent.listen().await);
    until("the parent can be called", || child.neighbours.callable(&Hop::Parent)).await;
    let deadline = Deadline::after(Duration::from_millis(80));
    let asking = child.neighbours.find_patients(&Hop::Parent, query(99), deadline);
    let error = soon("an answer", asking).await.unwrap_err();
    assert_eq!(error, PeerError::Deadline { to: PROVINCE.into() });
    let alive = parent.tiny.alive.clone();
    until("the parent lets go", || alive.load(std::sync::atomic::Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn nobody_is_there_is_an_answer() {
    let mesh = Mesh::new();
    let root = TestNode::new(&mesh, PROVINCE);
    let up = root.neighbours.find_patients(&Hop::Parent, query(5), in_a_while()).await.unwrap_err();
    assert!(matches!(up, PeerError::NotConnected { since_ms: 0, .. }));
    let down = Hop::Child(path(COUNTY));
    assert!(matches!(
        root.neighbours.find_patients(&down, query(5), in_a_while()).await.unwrap_err(),
        PeerError::NotConnected { since_ms: 0, .. }
    ));
}

/// Reads what an HTTP/2 client says up to its first call.
async fn until_headers(stream: &mut crate::connection::Stream) {
    const HEADERS: u8 = 1;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if frame[3] == HEADERS {
            return;
        }
    }
}

#[tokio::test]
async fn a_child_that_does_not_answer_does_not_push_out_one_that_does() {
    let mesh = Mesh::new();
    let (parent, child) = (TestNode::new(&mesh, PROVINCE), TestNode::new(&mesh, PREFECTURE));
    let address = parent.listen().await;
    let _status = child.dial_parent(address);
    let hop = Hop::Child(path(PREFECTURE));
    until("the child can be called", || parent.neighbours.callable(&hop)).await;
    let first = parent.neighbours.channel(&hop).unwrap();
    let reverse = tls(&mesh.node(PREFECTURE), PROVINCE, Alpn::Reverse);
    let mut silent =
        crate::client::connect_tls(&crate::net::Tcp, &address.to_string(), reverse).await.unwrap();
    // The parent's first call is on its way to the one that will not answer: it is not in use yet.
    soon("the first call", until_headers(&mut silent)).await;
    first.node().ping(v1::PingRequest {}).await.unwrap();
    assert!(parent.neighbours.channel(&hop).unwrap().is(&first));
}
