//! Requests and answers over a channel that is none.

use super::*;
use std::net::TcpListener;

fn exchange(patience: Duration) -> (Arc<Exchange>, Packets) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (exchange, queue) = Exchange::new(socket, patience, None);
    (exchange, Packets(queue))
}

/// What is to be sent.
struct Packets(mpsc::UnboundedReceiver<Queued>);

impl Packets {
    async fn recv(&mut self) -> Option<Bytes> {
        self.0.recv().await.map(packet)
    }

    fn try_recv(&mut self) -> Result<Bytes, mpsc::error::TryRecvError> {
        self.0.try_recv().map(packet)
    }
}

fn packet(queued: Queued) -> Bytes {
    let Queued::Packet(packet) = queued else { panic!("there is no line") };
    packet
}

/// A status for the request with this id.
fn status(id: u32, code: u32) -> Vec<u8> {
    [&[0, 0, 0, 9, 101][..], &id.to_be_bytes(), &code.to_be_bytes()].concat()
}

fn handle(id: u32) -> Vec<u8> {
    [&[0, 0, 0, 10, 102][..], &id.to_be_bytes(), &[0, 0, 0, 1, b'h']].concat()
}

#[tokio::test]
async fn answers_find_who_asked_in_any_order() {
    let (exchange, mut packets) = exchange(Duration::from_secs(600));
    let first = exchange.done(wire::remove("/a"), 0);
    let second = exchange.done(wire::remove("/b"), 0);
    let answer = async {
        let (one, two) = (packets.recv().await.unwrap(), packets.recv().await.unwrap());
        assert_ne!(one, two);
        let mut frames = Frames::default();
        exchange.arrived(&mut frames, &[status(1, 2), status(0, 0)].concat()).unwrap();
    };
    let (first, second, ()) = tokio::join!(first, second, answer);
    assert!(first.is_ok());
    assert!(matches!(second, Err(Failure::Refused { code: 2, .. })));
    assert_eq!(exchange.load(), 0);
}

#[tokio::test]
async fn what_was_sent_is_lost_with_the_channel_and_what_comes_later_is_not_sent() {
    let (exchange, _packets) = exchange(Duration::from_secs(600));
    let (asked, ()) = tokio::join!(exchange.done(wire::remove("/a"), 0), async { exchange.end("gone") });
    assert!(matches!(asked, Err(Failure::Lost(why)) if why == "gone"));
    assert!(matches!(exchange.done(wire::remove("/a"), 0).await, Err(Failure::NotSent(why)) if why == "gone"));
    assert!(!exchange.is_alive());
}

#[tokio::test]
async fn what_goes_in_one_go_arrives_in_order_and_each_request_has_its_own_answer() {
    let (exchange, mut packets) = exchange(Duration::from_secs(600));
    let asked = exchange.in_one_go(vec![wire::remove("/a"), wire::remove("/b"), wire::remove("/c")], 3);
    let answer = async {
        let mut frames = Frames::default();
        frames.push(&packets.recv().await.unwrap());
        for name in [b'a', b'b', b'c'] {
            let request = frames.next().unwrap().expect("all are sent, as one packet, before any is answered");
            assert_eq!(request.last(), Some(&name));
        }
        exchange.arrived(&mut Frames::default(), &[status(1, 4), status(0, 0)].concat()).unwrap();
        exchange.end("gone");
    };
    let (answers, ()) = tokio::join!(asked, answer);
    let mut answers = answers.into_iter().map(success);
    assert!(answers.next().unwrap().is_ok());
    assert!(matches!(answers.next().unwrap(), Err(Failure::Refused { code: 4, .. })));
    assert!(matches!(answers.next().unwrap(), Err(Failure::Lost(_))));
    let late = exchange.in_one_go(vec![wire::remove("/a"), wire::remove("/b")], 1).await;
    assert!(late.len() == 2 && late.iter().all(|answer| matches!(answer, Err(Failure::NotSent(_)))));
}

#[tokio::test]
async fn silence_ends_the_channel_only_while_somebody_waits() {
    let (exchange, _packets) = exchange(Duration::from_millis(1));
    tokio::time::sleep(Duration::from_millis(5)).await;
    exchange.judge_silence();
    assert!(exchange.is_alive(), "nobody waits");
    let silence = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        exchange.judge_silence();
    };
    let (asked, ()) = tokio::join!(exchange.done(wire::remove("/a"), 0), silence);
    assert!(matches!(asked, Err(Failure::Lost(_))));
}

#[tokio::test]
async fn a_request_that_is_passed_over_ends_the_channel() {
    let (exchange, _packets) = exchange(Duration::from_millis(100));
    let mut stuck = Box::pin(exchange.done(wire::remove("/a"), 0));
    assert!(futures_util::poll!(&mut stuck).is_pending());
    tokio::time::sleep(Duration::from_millis(350)).await;
    let mut later = Box::pin(exchange.done(wire::remove("/b"), 0));
    assert!(futures_util::poll!(&mut later).is_pending());
    exchange.arrived(&mut Frames::default(), &status(1, 0)).unwrap();
    later.await.unwrap();
    exchange.judge_silence();
    assert!(matches!(stuck.await, Err(Failure::Lost(_))));
}

#[tokio::test]
async fn a_handle_that_nobody_waits_for_any_more_is_closed() {
    let (exchange, mut packets) = exchange(Duration::from_secs(600));
    let mut asking = Box::pin(exchange.opened(wire::open_folder("/")));
    assert!(futures_util::poll!(&mut asking).is_pending());
    packets.recv().await.unwrap();
    // Once when the answer has not come, and once when it lies there unread.
    drop(asking);
    exchange.arrived(&mut Frames::default(), &handle(0)).unwrap();
    assert_eq!(packets.recv().await.unwrap(), wire::close(b"h").with_id(1));
    let mut asking = Box::pin(exchange.opened(wire::open_folder("/")));
    assert!(futures_util::poll!(&mut asking).is_pending());
    assert_eq!(exchange.open_handles(), 1, "it may be open soon");
    packets.recv().await.unwrap();
    exchange.arrived(&mut Frames::default(), &handle(2)).unwrap();
    drop(asking);
    assert_eq!(packets.recv().await.unwrap(), wire::close(b"h").with_id(3));
    assert_eq!(exchange.open_handles(), 0);
}

#[tokio::test]
async fn a_handle_counts_as_open_until_it_is_dropped() {
    let (exchange, mut packets) = exchange(Duration::from_secs(600));
    let answer = async {
        packets.recv().await.unwrap();
        exchange.arrived(&mut Frames::default(), &handle(0)).unwrap();
    };
    let (opened, ()) = tokio::join!(exchange.opened(wire::open_folder("/")), answer);
    let opened = opened.unwrap();
    assert_eq!(exchange.open_handles(), 1);
    // The server closes it when it comes to that.
    let _request = opened.closing();
    assert_eq!(exchange.open_handles(), 1);
    drop(opened);
    assert_eq!(exchange.open_handles(), 0);
}

#[tokio::test]
async fn content_under_way_is_bounded() {
    let (exchange, mut packets) = exchange(Duration::from_secs(600));
    let mut first = Box::pin(exchange.data(wire::read(b"h", 0, 1), ROOM));
    assert!(futures_util::poll!(&mut first).is_pending());
    packets.recv().await.unwrap();
    let mut second = Box::pin(exchange.data(wire::read(b"h", 0, 1), 1));
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(packets.try_recv().is_err(), "it waits for room");
    exchange.arrived(&mut Frames::default(), &status(0, 1)).unwrap();
    assert!(first.await.unwrap().is_none());
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(packets.try_recv().is_ok());
}
