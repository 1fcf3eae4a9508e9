//! Commands as a user runs them: output, messages, exit codes.

use std::fs;
use std::sync::Arc;

use clap::Parser;
use serde_json::Value;

use super::node::{At, CERTIFICATE_LIFE, NOW_MS, TestNode};
use super::replies::{KEY, NUMBER, content};
use crate::connection::Connection;
use crate::output::Output;
use crate::{Command, Exit, Global};

#[derive(Parser)]
struct Tiermesh {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub data: String,
    pub messages: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command as the operator of `node`. Words are split at spaces.
pub async fn run(node: &TestNode, line: &str) -> Ended {
    let (address, operator) = (node.address.to_string(), node.operator());
    let connection = ["tiermesh", "--node", &address, "--identity", operator.to_str().unwrap()];
    run_as(connection.into_iter().chain(line.split_whitespace())).await
}

async fn run_as(words: impl Iterator<Item = &str>) -> Ended {
    run_at(NOW_MS, words).await
}

async fn run_at(now_ms: u64, words: impl Iterator<Item = &str>) -> Ended {
    let Tiermesh { global, command } = Tiermesh::try_parse_from(words).unwrap();
    let (mut data, mut messages) = (Vec::new(), Vec::new());
    let mut output = Output {
        data: &mut data,
        messages: &mut messages,
        json: global.json,
        redraws: false,
        progress: false,
    };
    let ended = command.run(&Connection { global: &global, clock: Arc::new(At(now_ms)) }, &mut output).await;
    let exit = output.end(ended);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { exit, data: text(data), messages: text(messages) }
}

#[tokio::test]
async fn patients() {
    let node = TestNode::start().await;
    let created = run(&node, "patient register --local-id P0001 --name 阿依·古丽").await;
    assert_eq!((created.exit, created.messages.as_str()), (Exit::Ok, ""));
    assert!(created.data.starts_with("created: number ZM38P0QYQHH5CVC7"), "{created:?}");
    let withdrawn = run(&node, "--json patient register --local-id P0001 --withdraw").await.json();
    assert_eq!(withdrawn["outcome"], "withdrawn");

    let found =
        run(&node, "patient find --number ZM38P0QYQHH5CVC7 --practitioner d-7 --purpose emergency").await;
    assert!(
        found.data.contains("阿依·古丽") && found.data.contains("heard 0.4 s ago, 0 behind"),
        "{found:?}"
    );
    let context = node.behaviour.contexts.lock().unwrap()[0].clone();
    assert_eq!((context.practitioner.as_str(), context.purpose.as_str()), ("d-7", "EMERGENCY"));
    let shown = run(&node, "patient show --number ZM38P0QYQHH5CVC7 --json").await.json();
    assert_eq!(shown["persons"][0]["number"], NUMBER);
    assert_eq!(shown["persons"][0]["registrations"][0]["registration"]["name"], "阿依·古丽");
    assert_eq!(shown["scope"]["sources"][0]["state"], "replicated");
}

#[tokio::test]
async fn nothing_found_is_an_answer_and_an_exit_code() {
    let node = TestNode::start().await;
    let nobody = run(&node, "patient find --name 王小明").await;
    assert_eq!((nobody.exit, nobody.messages.as_str()), (Exit::NotFound, "error: no such patient\n"));
    assert!(nobody.data.starts_with("answered by 530000 (complete)"), "{nobody:?}");
    let nobody = run(&node, "patient find --name 王小明 --json").await;
    assert_eq!(nobody.json()["persons"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_registration_from_a_file() {
    let node = TestNode::start().await;
    let file = node.dir().join("patient.json");
    fs::write(&file, r#"{"local_id":"P0001","name":"阿依·古丽","sex":"2"}"#).unwrap();
    let created = run(&node, &format!("patient register --file {}", file.display())).await;
    assert_eq!(created.exit, Exit::Ok, "{created:?}");
    fs::write(&file, r#"{"local_id":"P0001","nmae":"阿依·古丽"}"#).unwrap();
    let refused = run(&node, &format!("patient register --file {}", file.display())).await;
    assert_eq!(refused.exit, Exit::Usage);
    assert!(
        refused.messages.contains("unknown field `nmae`") && !refused.messages.contains("古丽"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn every_refusal_has_its_code_and_one_line() {
    let node = TestNode::start().await;
    for (local_id, exit, line) in [
        (
            "BAD",
            Exit::Refused,
            "error: the node refused the input (INVALID): not accepted; registration.birth_date: the calendar has no such date; correct what is named and run it again\n",
        ),
        (
            "STRANGER",
            Exit::NotFound,
            "error: not found (UNKNOWN_PATIENT): no such patient here; register the patient at this institution first\n",
        ),
        (
            "OTHERS",
            Exit::Denied,
            "error: not permitted (WRONG_INSTITUTION): not yours; use the certificate of the institution concerned\n",
        ),
        (
            "OLD",
            Exit::Conflict,
            "error: in conflict with what the node holds (VERSION_CONFLICT): another version is held; read the patient again, then decide\n",
        ),
        (
            "DOWN",
            Exit::Unavailable,
            "error: not available (NOT_WRITING): waits for its parent; `status` says why the node does not accept writes\n",
        ),
        (
            "FULL",
            Exit::Exhausted,
            "error: the node has no room or capacity for it (DISK_FULL): the disk is full; retry after 1.5 s; make room at the node; writes resume by themselves\n",
        ),
        (
            "FAULT",
            Exit::Unexpected,
            "error: the node failed (INTERNAL): a fault; report it, with the node's log of this moment\n",
        ),
    ] {
        let ended = run(&node, &format!("patient register --local-id {local_id}")).await;
        assert_eq!(
            (ended.exit, ended.data.as_str(), ended.messages.as_str()),
            (exit, "", line),
            "{local_id}"
        );
    }
    let failed = run(&node, "patient register --local-id BAD --json").await;
    let error = &failed.json()["error"];
    assert_eq!((&error["exit"], &error["reason"]), (&Value::from(3), &Value::from("INVALID")));
    assert_eq!(error["violations"][0]["field"], "registration.birth_date");
    let late = run(&node, "patient register --local-id SLOW --timeout 0.1").await;
    assert_eq!(late.exit, Exit::Unavailable, "{late:?}");
}

#[tokio::test]
async fn documents() {
    let node = TestNode::start().await;
    let file = node.dir().join("血常规.pdf");
    fs::write(&file, content()).unwrap();
    let line = format!("document submit {} --local-id P0001 --type C0007 --title 血常规", file.display());
    let first = run(&node, &line).await;
    assert_eq!((first.exit, first.messages.as_str()), (Exit::Ok, ""), "{first:?}");
    let again = run(&node, &format!("{line} --json")).await.json();
    assert_eq!(
        (&again["outcome"], &again["content_durability"]),
        (&Value::from("created"), &Value::from("local"))
    );
    {
        let submitted = node.behaviour.submitted.lock().unwrap();
        assert_eq!(submitted[0].0, submitted[1].0, "the same command makes the same entry");
        assert_eq!(
            (submitted[0].0.media_type.as_str(), submitted[0].0.title.as_str()),
            ("application/pdf", "血常规")
        );
        assert!(submitted[0].0.created_ms > 0 && submitted[0].1 == content());
    }
    let found = run(&node, "document find --number ZM38P0QYQHH5CVC7").await;
    assert!(
        found.data.contains(&format!("{KEY}@530000/532900")) && found.data.contains("C0007 检验报告"),
        "{found:?}"
    );
    assert!(found.messages.contains("--page-token more"), "{found:?}");
    let reference = "document submit --reference https://his.example/1 --local-id P0001 --type C0007 --title 血常规 --id D9 --created 2026-11-21";
    assert_eq!(run(&node, reference).await.exit, Exit::Ok);
    assert_eq!(run(&node, "document deprecate D1 --local-id P0001").await.exit, Exit::Ok);
    assert_eq!(run(&node, "document withdraw D1 --local-id P0001").await.exit, Exit::Usage);
    assert_eq!(run(&node, "document withdraw D1 --local-id P0001 --reason 错").await.exit, Exit::Ok);
    let missing = run(&node, "document submit missing.pdf --local-id P --type C0007 --title t").await;
    assert_eq!(
        (missing.exit, missing.messages.as_str()),
        (Exit::Usage, "error: missing.pdf: no such file; check the path\n")
    );
}

#[tokio::test]
async fn status_once_and_watched() {
    let node = TestNode::start().await;
    let once = run(&node, "status").await;
    assert!(once.data.starts_with("node         530000 云南省 (province)"), "{once:?}");
    let watched = run(&node, "status --watch --interval 1 --looks 2 --json").await;
    let looks: Vec<Value> = watched.data.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2);
    assert_eq!((&looks[1]["path"], &looks[1]["parent"]), (&Value::from("530000"), &Value::Null));
}

#[tokio::test]
async fn a_missing_certificate_is_one_line() {
    let node = TestNode::start().await;
    let address = node.address.to_string();
    let none = run_as(["tiermesh", "--node", &address, "status"].into_iter()).await;
    assert_eq!(none.exit, Exit::Usage);
    assert!(none.messages.starts_with("error: no certificate to connect with: give --identity"), "{none:?}");
    let elsewhere = node.dir().join("elsewhere");
    let words = ["tiermesh", "--node", &address, "--identity", elsewhere.to_str().unwrap(), "status"];
    let missing = run_as(words.into_iter()).await;
    assert_eq!((missing.exit, missing.messages.lines().count()), (Exit::Usage, 1), "{missing:?}");
    assert!(missing.messages.contains("is missing"), "{missing:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_told_before_dialling() {
    let node = TestNode::start().await;
    let operator = node.operator();
    let words = ["tiermesh", "--node", "127.0.0.1:1", "--identity", operator.to_str().unwrap(), "status"];
    let later = NOW_MS + 2 * CERTIFICATE_LIFE.as_millis() as u64;
    let ended = run_at(later, words.into_iter()).await;
    assert_eq!(ended.exit, Exit::Usage, "{ended:?}");
    assert!(ended.messages.contains("the certificate has expired"), "{ended:?}");
}

#[tokio::test]
async fn the_wrong_node_is_named() {
    let node = TestNode::start().await;
    let ended = run(&node, "status --node-path 530000/532900").await;
    assert_eq!((ended.exit, ended.messages.lines().count()), (Exit::Denied, 1), "{ended:?}");
}

#[tokio::test]
async fn a_move_says_what_would_happen_and_what_is_waited_for() {
    let node = TestNode::start().await;
    let looked = run(&node, "move institution X --to 530000/532900 --dry-run").await;
    assert_eq!(looked.exit, Exit::Ok, "{looked:?}");
    let expected = "\
move         530000 -> 530000/532900, term 2: nothing was changed; this would happen
records      3 registrations, 0 document entries, 0 withdrawn; 0 B, of which 3 travel; up to position 9
from         this node
to           530000/532900 green, connected, not proven since the start, at 7 of 9
";
    assert_eq!(looked.data, expected);
    let moved = run(&node, "move institution X --to 530000/532900").await;
    assert!(moved.data.contains("waits for    530000 to learn of it and end its term 1"), "{moved:?}");
    let moved = run(&node, "move institution X --to 530000/532900 --json").await;
    let moved: Value = serde_json::from_str(&moved.data).unwrap();
    assert_eq!((&moved["outcome"], &moved["to_link"]["health"]), (&"decided".into(), &"green".into()));
}

#[tokio::test]
async fn a_merge_moves_what_it_can_and_says_what_is_left() {
    let node = TestNode::start().await;
    let looked = run(&node, "move all --from 530000/532900 --to 530000/532600 --dry-run").await;
    assert_eq!(looked.exit, Exit::Ok, "{looked:?}");
    let expected = "\
merge        530000/532900 -> 530000/532600: 1 institution would move; nothing was changed
institution  A 医院: term 2, 3 registrations, 0 document entries, of which 3 travel
waits for    530000/532900 to end 1 term: LEFT
";
    assert_eq!(looked.data, expected);
    let moved = run(&node, "move all --from 530000/532900 --to 530000/532600").await;
    assert_eq!(moved.exit, Exit::Ok, "{moved:?}");
    assert!(moved.data.contains("530000/532900 to end 2 terms: A, LEFT"), "{moved:?}");
    assert!(moved.data.contains("next         leave 530000/532900 running"), "{moved:?}");

    // Of a dead node nothing is waited for, nor of what left it before for the same node; what left for a third one is said.
    let node = TestNode::start().await;
    let looked =
        run(&node, "move all --from 530000/532900 --to 530000/532600 --without-old-writer --dry-run").await;
    assert_eq!(looked.data, expected, "a look changes nothing");
    let moved = run(&node, "move all --from 530000/532900 --to 530000/532600 --without-old-writer").await;
    assert!(moved.data.contains("2 institutions moved") && moved.data.contains("LEFT 医院"), "{moved:?}");
    assert!(moved.data.contains("is done without") && !moved.data.contains("waits for"), "{moved:?}");
    let node = TestNode::start().await;
    let third = run(&node, "move all --from 530000/532900 --to 530000/532500 --without-old-writer").await;
    assert!(
        third.data.contains("1 institution moved") && third.data.contains("file with a third node"),
        "{third:?}"
    );

    // One that cannot be moved does not hold up the others.
    let node = TestNode::start().await;
    let refused = run(&node, "move all --from 530000 --to 530000/532600 --json").await;
    assert_eq!(refused.exit, Exit::Conflict, "{refused:?}");
    let said: Value = serde_json::from_str(refused.data.lines().next().unwrap()).unwrap();
    assert_eq!((&said["moved"][0]["code"], &said["moved"][0]["outcome"]), (&"A".into(), &"decided".into()));
    assert_eq!(
        (&said["refused"][0]["code"], said["moved"].as_array().unwrap().len()),
        (&"REFUSED".into(), 1)
    );
    let same = run(&node, "move all --from 530000 --to 530000").await;
    assert_eq!(same.exit, Exit::Usage);
}

#[tokio::test]
async fn a_scrub_is_waited_for_unless_told_otherwise() {
    let node = TestNode::start().await;
    let looks = || node.behaviour.looks.load(std::sync::atomic::Ordering::SeqCst);
    let waited = run(&node, "scrub").await;
    assert_eq!((waited.exit, looks()), (Exit::Ok, 2), "{waited:?}");
    assert_eq!(waited.data, "scrub        last full pass 0.0 s ago; only when asked for\n");
    let begun = run(&node, "scrub --no-wait --json").await;
    let status: Value = serde_json::from_str(&begun.data).unwrap();
    assert_eq!((looks(), &status["store"]["scrub_passes"]), (3, &Value::from(3)));
}

#[tokio::test]
async fn a_quarantine_is_listed_page_after_page() {
    let node = TestNode::start().await;
    let keys = |ended: &Ended| {
        let json = ended.json();
        let records = json["records"].as_array().unwrap().clone();
        let keys: Vec<_> = records.iter().map(|one| one["key"].as_str().unwrap()[..2].to_owned()).collect();
        (keys, json["more"] == true, json["unreadable"].as_u64().unwrap())
    };
    let all = run(&node, "--json quarantine").await;
    assert_eq!(keys(&all), (vec!["01".into(), "02".into(), "03".into()], false, 1));
    assert_eq!(all.json()["records"][0]["kind"], "registration");
    let two = run(&node, "--json quarantine --limit 2").await;
    assert_eq!(keys(&two), (vec!["01".into(), "02".into()], true, 0));
    let one = run(&node, "--json quarantine --from 530000/532900").await;
    assert_eq!(keys(&one), (vec!["02".into()], false, 0));
    let nothing = run(&node, "quarantine --from 大理州").await;
    assert_eq!((nothing.exit, nothing.data.as_str()), (Exit::Ok, "nothing in quarantine\n"));
}
