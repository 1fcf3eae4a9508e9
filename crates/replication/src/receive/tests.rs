//! Greetings as a table.

use model::OriginId;
use model::feed::{Direction, Hello};

use super::greeting::check;
use crate::testing::{Writer, epoch_entry, institution, path, trust_domain};
use crate::{Directory, LinkRefusal, NodeIdentity};

fn hello() -> Hello {
    Hello {
        protocols: vec![1, 2],
        direction: Direction::Up,
        path: path("530000/532900"),
        origin: OriginId([1; 16]),
        trust_domain: trust_domain(),
        generation: [0; 16],
        head: 0,
        epochs: vec![epoch_entry(1, 1, &[], 0)],
        began: vec![1],
        last_seq: 0,
        now_ms: 0,
        software: String::new(),
        introduction: Vec::new(),
    }
}

/// The reason of the refusal, or the protocol version.
fn judged(hello: &Hello, peer: &str, directory: &Directory) -> Result<u32, &'static str> {
    let own = NodeIdentity {
        path: path("530000"),
        origin: OriginId([200; 16]),
        trust_domain: trust_domain(),
        software: String::new(),
        protocols: model::feed::PROTOCOLS.to_vec(),
    };
    check(hello, &path(peer), &own, &directory.snapshot()).map_err(|refusal: LinkRefusal| refusal.reason())
}

#[test]
fn the_table() {
    let nobody = Directory::default();
    let table = [
        (hello(), "530000/532900", Ok(1)),
        (
            Hello { trust_domain: "other.test".parse().unwrap(), ..hello() },
            "530000/532900",
            Err("WRONG_TREE"),
        ),
        (hello(), "530000/532600", Err("NOT_A_CHILD")),
        (Hello { path: path("530000/532900/532901"), ..hello() }, "530000/532900/532901", Err("NOT_A_CHILD")),
        (Hello { path: path("530000"), ..hello() }, "530000", Err("NOT_A_CHILD")),
        (Hello { protocols: vec![2, 3], ..hello() }, "530000/532900", Err("UNSUPPORTED_PROTOCOL")),
        (Hello { protocols: vec![], ..hello() }, "530000/532900", Err("UNSUPPORTED_PROTOCOL")),
        (Hello { direction: Direction::Down, ..hello() }, "530000/532900", Err("BAD_HELLO")),
        (Hello { origin: OriginId([200; 16]), ..hello() }, "530000/532900", Err("BAD_HELLO")),
    ];
    for (line, (hello, peer, expected)) in table.into_iter().enumerate() {
        assert_eq!(judged(&hello, peer, &nobody), expected, "line {line}");
    }
}

#[test]
fn the_first_binding_of_a_path_stands() {
    let directory = Directory::default();
    let mut known = Writer::new(1, "530000/532900");
    for record in [known.node(), known.institution("H1")] {
        directory.learn(&record);
    }
    let hello = || Hello { origin: known.origin, ..hello() };
    let other = Hello { origin: OriginId([2; 16]), ..hello() };
    let table = [
        (hello(), "530000/532900", Ok(1)),
        (other.clone(), "530000/532900", Err("ORIGIN_CHANGED")),
        (Hello { epochs: Vec::new(), ..other }, "530000/532900", Err("ORIGIN_CHANGED")),
        (Hello { path: path("530000/532600"), ..hello() }, "530000/532600", Err("BAD_HELLO")),
        (
            Hello { path: path("530000/532600"), origin: institution("H1"), ..hello() },
            "530000/532600",
            Err("BAD_HELLO"),
        ),
    ];
    for (line, (hello, peer, expected)) in table.into_iter().enumerate() {
        assert_eq!(judged(&hello, peer, &directory), expected, "line {line}");
    }
}
