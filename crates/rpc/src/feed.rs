//! `FeedService` at both ends: neighbours' feeds arrive here, ours go to them. Frames are converted and carried;
//! what they mean is replication's.

use exchange::feed::{LinkError, Receiver, Sender};
use exchange::{Exchange, Role};
use futures_util::future::Either;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use model::feed::{FromReceiver, FromSender};
use model::{NodePath, RecordKey};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::v1;

use crate::Drain;
use crate::caller::identify;
use crate::client::plain;
use crate::connection::Channel;
use crate::error::{denied, from_status, malformed, status_for, to_status};

/// Frames made ahead of the transport, each way; when they are full, the feed waits.
const AHEAD: usize = 2;

/// The receiving end of the neighbours' feeds.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub exchange: Exchange,
    pub receiver: Receiver,
    pub own: NodePath,
    pub drain: Drain,
}

#[tonic::async_trait]
impl v1::feed_service_server::FeedService for Feed {
    type ShipStream = BoxStream<'static, Result<v1::ShipReply, Status>>;

    async fn ship(
        &self,
        request: Request<Streaming<v1::ShipRequest>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let caller = identify(&request)?;
        let neighbour = self.own.is_parent_of(&caller.path) || caller.path.is_parent_of(&self.own);
        if caller.role != Role::Node || !neighbour {
            return Err(denied(
                "NOT_A_CHILD",
                format!("only the node above {} and those directly under it ship feeds here", self.own),
            ));
        }
        let incoming = request.into_inner().map(|frame| match frame {
            Ok(frame) => frame.try_into().map_err(unreadable),
            Err(status) => Err(broken(&status)),
        });
        let (receiver, drain) = (self.receiver.clone(), self.drain.clone());
        let (outgoing, replies) = mpsc::channel(AHEAD);
        let session = async move {
            tokio::select! {
                biased;
                () = drain.stopping() => Some(Status::unavailable("the node is stopping")),
                ended = receiver.serve(caller.path, incoming.boxed(), outgoing) => ended.err().map(|error| refusal(&error)),
            }
        };
        Ok(Response::new(replies_of(session, replies).boxed()))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<v1::FetchReply>, Status> {
        let caller = identify(&request)?;
        let keys: Vec<RecordKey> = request.into_inner().try_into().map_err(malformed)?;
        let fetched = self.exchange.fetch(&caller, &keys).map_err(to_status)?;
        Ok(Response::new(fetched.into()))
    }
}

/// Runs the session inside the reply stream: when the transport drops the stream, the session is gone as well.
fn replies_of(
    session: impl Future<Output = Option<Status>> + Send + 'static,
    replies: mpsc::Receiver<FromReceiver>,
) -> impl Stream<Item = Result<v1::ShipReply, Status>> {
    let replies = ReceiverStream::new(replies).map(|frame| Either::Left(v1::ShipReply::from(frame)));
    let end = futures_util::stream::once(session).map(Either::Right);
    futures_util::stream::select(replies, end).filter_map(async |item| match item {
        Either::Left(reply) => Some(Ok(reply)),
        Either::Right(end) => end.map(Err),
    })
}

/// What the sender is told when the session ends badly.
fn refusal(error: &LinkError) -> Status {
    let code = match error {
        LinkError::Refused(_) | LinkError::ParentKnowsMore { .. } => Code::FailedPrecondition,
        LinkError::Protocol(_) | LinkError::Unreadable { .. } => Code::InvalidArgument,
        _ => Code::Unavailable,
    };
    let message = match error {
        LinkError::Refused(refusal) => refusal.to_string(),
        error => error.to_string(),
    };
    status_for(code, error.reason(), message)
}

/// Names the field, never its value.
fn unreadable(error: wire::ConvertError) -> LinkError {
    LinkError::Unreadable { field: error.field, rule: error.rule }
}

/// What a broken or refused stream means to a feed.
fn broken(status: &Status) -> LinkError {
    match from_status(status) {
        Some(error) => {
            LinkError::RefusedByPeer { reason: error.reason().to_owned(), message: error.to_string() }
        }
        None => LinkError::Broken { cause: plain(status) },
    }
}

/// Ships a feed over a connection to its neighbour until one of them ends.
pub(crate) async fn ship(channel: &Channel, sender: &Sender) -> Result<(), LinkError> {
    sender.ready().await;
    let (outgoing, frames) = mpsc::channel::<FromSender>(AHEAD);
    let frames = ReceiverStream::new(frames).map(v1::ShipRequest::from);
    let replies = channel.feed().ship(frames).await.map_err(|status| broken(&status))?;
    let incoming = replies.into_inner().map(|frame| match frame {
        Ok(frame) => FromReceiver::try_from(frame).map_err(unreadable),
        Err(status) => Err(broken(&status)),
    });
    sender.ship(incoming.boxed(), outgoing).await
}
