//! Real faults: nodes frozen, lines cut and corrupted, disks full and failing, a thin line; under load, with the oracle and a
//! proof on every link at the end.
//!
//! `TIERMESH_ROUNDS` says how many rounds of each fault (a few), `TIERMESH_SEED` which (1). Small disks need root and loop
//! devices, failing syncs need strace (`tests/tools` installs it); a test that lacks them says so and does nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use model::NodePath;
use model::query::Reach;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::Ledger;
use tests::faults::{
    Direction, Disk, Left, LinkProof, Namespace, Proof, Province, freeze, has_strace, number, thaw,
};
use wire::v1::NodeStatus;

const ROOT: &str = "530000";
const PREFECTURE: &str = "530000/532900";
const COUNTY: &str = "530000/532900/532901";
const OTHER_COUNTY: &str = "530000/532900/532922";

fn province(paths: &[&str]) -> Province {
    let launch = Path::new(env!("CARGO_MANIFEST_DIR")).join("launch");
    Province::create(paths, &launch, env!("CARGO_BIN_EXE_tiermesh-under-test"))
}

fn node(path: &str) -> NodePath {
    path.parse().expect("a path")
}

fn begin(fault: &str, default: u64) -> (u64, StdRng, u64) {
    let (rounds, seed) = (number("TIERMESH_ROUNDS", default), number("TIERMESH_SEED", 1));
    println!("{fault}: seed {seed}, {rounds} rounds");
    (rounds, StdRng::seed_from_u64(seed), seed)
}

fn report(fault: &str, (ledger, proofs): &(Ledger, Vec<LinkProof>)) {
    let proofs: Vec<String> =
        proofs.iter().map(|proof| format!("{} of {} records", proof.child, proof.records)).collect();
    println!(
        "{fault}: {} patients and {} documents acknowledged, all held; proven equal: {}",
        ledger.patients.len(),
        ledger.documents.len(),
        proofs.join(", ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_nodes() {
    let (rounds, mut rng, seed) = begin("freezing", 4);
    let mut province = province(&[ROOT, PREFECTURE, COUNTY, OTHER_COUNTY]);
    province.start().await;
    let writers = province.write(&[COUNTY, OTHER_COUNTY], 1, seed).await;
    for round in 0..rounds {
        writers.advance(rng.random_range(1..60)).await;
        // One long freeze for every few short ones, and the first is of the node in the middle.
        let long = round % 4 == 0;
        let victim = match rng.random_range(0..3) {
            _ if long && round == 0 => node(PREFECTURE),
            0 => node(ROOT),
            1 => node(PREFECTURE),
            _ => node(COUNTY),
        };
        freeze(&province.tree, &victim);
        if long {
            noticed(&province, &victim).await;
        } else {
            // The other county is never frozen, and needs nobody to go on.
            writers.advance(rng.random_range(1..40)).await;
        }
        thaw(&province.tree, &victim);
    }
    writers.advance(20).await;
    report("freezing", &province.close(Some(writers), Proof::AfterCut).await);
}

/// Waits until a neighbour of a frozen node gives its link up, which keep-alive does.
async fn noticed(province: &Province, victim: &NodePath) {
    let name = victim.to_string();
    if let Some(above) = victim.parent() {
        let gone =
            |status: &NodeStatus| status.children.iter().any(|link| link.path == name && !link.connected);
        province.status_until(&above, "it gives its child up", gone).await;
    } else {
        let gone = |status: &NodeStatus| status.parent.as_ref().is_some_and(|link| !link.connected);
        province.status_until(&node(PREFECTURE), "it gives its parent up", gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines() {
    let (rounds, mut rng, seed) = begin("bad lines", 10);
    let mut province = province(&[ROOT, PREFECTURE, COUNTY]);
    province.start().await;
    let writers = province.write(&[COUNTY, PREFECTURE], 3, seed).await;
    for round in 0..rounds {
        writers.advance(rng.random_range(1..40)).await;
        let child = node(if rng.random_bool(0.5) { COUNTY } else { PREFECTURE });
        let line = province.line(&child);
        match round % 5 {
            0 => line.cut(),
            1 => {
                line.hold(true);
                writers.advance(rng.random_range(1..60)).await;
                line.hold(false);
            }
            2 => {
                line.set_delay(Duration::from_millis(rng.random_range(1..200)));
                writers.advance(rng.random_range(1..40)).await;
                line.cut();
                line.set_delay(Duration::ZERO);
            }
            3 => {
                line.set_rate(Some(rng.random_range(10_000..200_000)));
                writers.advance(rng.random_range(1..60)).await;
                line.cut();
                line.set_rate(None);
            }
            _ => corrupted(&province, &child, &mut rng).await,
        }
    }
    writers.advance(20).await;
    report("bad lines", &province.close(Some(writers), Proof::AfterCut).await);
}

/// Corrupts a few bytes each way and waits until an end has closed the connection over it.
async fn corrupted(province: &Province, child: &NodePath, rng: &mut StdRng) {
    let line = province.line(child);
    let mut ended = line.ended_corrupted();
    for direction in [Direction::Up, Direction::Down] {
        let wanted = *ended.borrow_and_update() + 1;
        line.corrupt(direction, rng.random_range(0..3000));
        let end = ended.wait_for(|ended| *ended >= wanted);
        tokio::time::timeout(Duration::from_secs(90), end)
            .await
            .expect("an end closes the connection over corrupted bytes")
            .expect("the line is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disks() {
    let (rounds, mut rng, seed) = begin("full disks", 4);
    let mut province = province(&[ROOT, PREFECTURE, COUNTY]);
    let mut disks = Vec::new();
    for path in [COUNTY, PREFECTURE] {
        let data = province.tree.node_dir(&node(path)).join("data");
        let image = province.file(&path.replace('/', "-"));
        match Disk::make(&image, 192, &data) {
            Some(disk) => disks.push((node(path), disk)),
            None => return println!("full disks: no loop devices or no root here"),
        }
    }
    province.start().await;
    let writers = province.write(&[COUNTY, PREFECTURE], 2, seed).await;
    for path in [COUNTY, PREFECTURE] {
        province.register_at_last(&node(path)).await;
    }
    for round in 0..rounds {
        let (victim, disk) = &disks[round as usize % 2];
        let left = if (round / 2) % 2 == 0 { Left::Little } else { Left::Nothing };
        writers.advance(rng.random_range(1..60)).await;
        // A county that was started again may still be without its link: then nothing waits for a parent that it has not met.
        let linked = |status: &NodeStatus| status.parent.as_ref().is_some_and(|link| link.connected);
        province.status_until(&node(COUNTY), "its link stands", linked).await;
        disk.fill(left);
        refused(&mut province, victim, "DISK_FULL", "the disk is full").await;
        if *victim == node(PREFECTURE) {
            behind(&mut province, victim).await;
        }
        // Every second time each, with either room.
        if (round / 2 + round) % 2 == 1 {
            province.tree.kill(victim).await.expect("it ran");
            restarted_full(&mut province, victim, left).await;
        }
        disk.empty();
        if province.tree.process_id(victim).is_none() {
            province.tree.start(victim).await.expect("it starts when there is room");
        }
        writers.advance(20).await;
        province.register_at_last(victim).await;
        province.status_until(victim, "it writes again", |status| status.writing).await;
    }
    report("full disks", &province.close(Some(writers), Proof::AfterCut).await);
}

/// Starts a node on a full disk: it reads, and refuses to write. With no room at all it may not start, but then says why.
async fn restarted_full(province: &mut Province, path: &NodePath, left: Left) {
    match province.tree.start(path).await {
        Ok(()) => refused(province, path, "DISK_FULL", "the disk is full").await,
        Err(error) => {
            let text = error.to_string().to_lowercase();
            assert!(left == Left::Nothing, "it does not start with some room: {text}");
            assert!(["no space", "no storage space", "full"].iter().any(|why| text.contains(why)), "{text}");
            println!("full disks: {error}");
        }
    }
}

/// Waits until a node refuses a write with this reason; it says so in its status, and reads go on.
async fn refused(province: &mut Province, path: &NodePath, reason: &str, says: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match province.register(path).await {
            Err(error) if error.reason() == Some(reason) => break,
            Err(error) => assert!(Instant::now() < end, "{path} refuses, but otherwise: {error}"),
            Ok(()) => assert!(Instant::now() < end, "{path} goes on writing"),
        }
    }
    let status = province.status_until(path, "it says why", |status| !status.writing).await;
    assert!(status.not_writing_reason.contains(says), "{path} says: {}", status.not_writing_reason);
    let found = province.find_own(path, Reach::Local).await.expect("reads go on");
    assert_eq!(found.persons.len(), 1, "{path} does not find what it holds");
}

/// A county goes on below a parent whose disk is full, and the parent says why records wait.
async fn behind(province: &mut Province, parent: &NodePath) {
    let county = node(COUNTY);
    province.register(&county).await.expect("a county writes on below a parent whose disk is full");
    let waits = |status: &NodeStatus| status.parent.as_ref().is_some_and(|link| link.position < link.head);
    province.status_until(&county, "records wait for the parent", waits).await;
    let says =
        |status: &NodeStatus| status.children.iter().any(|link| link.reason.contains("the disk is full"));
    province.status_until(parent, "it says why records wait", says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_disks() {
    let (rounds, mut rng, seed) = begin("failing disks", 4);
    if !has_strace() {
        return println!("failing disks: no strace here, or it may not trace; tests/tools installs it");
    }
    let mut province = province(&[ROOT, PREFECTURE, COUNTY]);
    province.start().await;
    let writers = province.write(&[COUNTY, PREFECTURE], 2, seed).await;
    for path in [COUNTY, PREFECTURE] {
        province.register_at_last(&node(path)).await;
    }
    for round in 0..rounds {
        let victim = node([COUNTY, PREFECTURE][round as usize % 2]);
        let call = ["fdatasync", "pwrite64"][round as usize / 2 % 2];
        // The first ones fail the start itself.
        let nth = if round % 4 == 3 { rng.random_range(1..5) } else { rng.random_range(5..60) };
        province.tree.stop(&victim).await.expect("it stops");
        let traced = province.file("strace.txt").display().to_string();
        let under = format!(
            "strace -f -D --seccomp-bpf -qq -o {traced} -e trace={call} -e signal=none -e inject={call}:error=EIO:when={nth}"
        );
        province.launch_under(&victim, &under);
        if let Err(error) = province.tree.start(&victim).await {
            assert!(nth < 5, "{call} {nth}: {error}");
            println!("failing disks: {victim} does not start when {call} {nth} fails: {error}");
        } else {
            province.status_until(&victim, "a failed call stops the writer", failed).await;
            refused(&mut province, &victim, "STORE_FAILED", "restart the node").await;
            println!("failing disks: {victim} refuses writes after {call} {nth}");
            ended(&mut province, &victim, &mut rng).await;
        }
        assert!(injected(&traced) > 0, "strace made nothing fail");
        province.launch_under(&victim, "");
        province.tree.start(&victim).await.unwrap_or_else(|error| panic!("after {call} {nth}: {error}"));
        writers.advance(10).await;
    }
    report("failing disks", &province.close(Some(writers), Proof::AfterCut).await);
}

/// Whether the node takes no writes until it is restarted.
fn failed(status: &NodeStatus) -> bool {
    !status.writing && status.not_writing_reason.contains("restart the node")
}

/// Ends a node that cannot write any more, one way or the other.
async fn ended(province: &mut Province, path: &NodePath, rng: &mut StdRng) {
    if rng.random_bool(0.5) {
        province.tree.kill(path).await.expect("it ran");
    } else {
        province.tree.stop(path).await.expect("it stops");
    }
}

/// How many calls strace made fail.
fn injected(file: &str) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| line.contains("INJECTED")).count()
}

/// Bytes a second of a line of 2 Mbit/s.
const THIN: u64 = 250_000;
/// Registrations that wait when the line comes up, for each round.
const BACKLOG: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_line() {
    let (rounds, ..) = begin("thin line", 1);
    let backlog = BACKLOG * rounds.clamp(1, 10) as usize;
    let mut province = province(&[ROOT, PREFECTURE]);
    province.lines_carry_kbit_s = Some(THIN * 8 / 1000);
    province.start().await;
    let child = node(PREFECTURE);
    province.register(&child).await.expect("registered");
    province.line(&child).hold(true);
    province.line(&child).cut();
    province.register_many(&child, backlog).await;
    province.line(&child).set_rate(Some(THIN));
    province.line(&child).hold(false);
    drained("thin line", &mut province, &child, |province| {
        province.line(&node(PREFECTURE)).bytes(Direction::Up)
    })
    .await;
    province.line(&child).set_rate(None);
    report("thin line", &province.close(None, Proof::AfterCut).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_the_kernel_makes_thin() {
    let (rounds, ..) = begin("kernel's thin line", 1);
    let backlog = BACKLOG * rounds.clamp(1, 10) as usize;
    let Some(space) = Namespace::make() else {
        return println!("kernel's thin line: no root, network namespaces, veth or tbf here");
    };
    let mut province = province(&[ROOT, PREFECTURE]);
    let (root, child) = (node(ROOT), node(PREFECTURE));
    province.launch_with(&root, &format!("TIERMESH__LISTEN__ADDRESS={}\n", space.parent_address()));
    province.tree.start(&root).await.expect("the root starts");
    let inside = format!(
        "TIERMESH__LISTEN__ADDRESS={}\nTIERMESH__PARENT__LINE_KBIT_S={}\nUNDER=\"{}\"\n",
        space.child_address(),
        THIN * 8 / 1000,
        space.under()
    );
    province.launch_with(&child, &inside);
    province.tree.start(&child).await.expect("the child starts");
    province.register_at_last(&child).await;
    space.plug(false);
    province.register_many(&child, backlog).await;
    space.thin(THIN * 8);
    space.plug(true);
    drained("kernel's thin line", &mut province, &child, |_| space.bytes_up()).await;
    report("kernel's thin line", &province.close(None, Proof::Awaited).await);
}

/// Waits until the backlog of `child` is drained over a thin line, asking through the same line meanwhile; says how long both
/// took, and holds the backlog to the rate. `bytes` counts what went up the line.
async fn drained(what: &str, province: &mut Province, child: &NodePath, bytes: impl Fn(&Province) -> u64) {
    let backlog = waiting(&province.status(child).await);
    // From the first bytes that are no handshake's: how long it takes to connect is not the line's.
    let (before, end) = (bytes(province), Instant::now() + Duration::from_secs(60));
    while bytes(province) < before + 16 * 1024 {
        assert!(Instant::now() < end, "{what}: nothing moves");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (passed, started) = (bytes(province), Instant::now());
    let mut finds = Vec::new();
    while waiting(&province.status(child).await) > 0 {
        let asked = Instant::now();
        let answer = province.find_own(child, Reach::Tree).await.expect("an answer");
        finds.push((asked.elapsed(), answer.scope.complete));
    }
    let (drained, passed) = (started.elapsed(), bytes(province) - passed);
    let ratio = drained.as_secs_f64() * THIN as f64 / passed as f64;
    finds.sort();
    assert!(!finds.is_empty(), "{what}: the backlog was gone before anything could be asked");
    let (median, slowest) = (finds[finds.len() / 2].0, finds[finds.len() - 1].0);
    let complete = finds.iter().filter(|(_, complete)| *complete).count();
    println!(
        "{what}: {backlog} commits behind, {passed} bytes in {drained:.1?}: {ratio:.2} times what the rate allows; {} finds \
         meanwhile, {complete} answered from above, median {median:.0?}, slowest {slowest:.0?}",
        finds.len()
    );
    // The rest is what the ends do before and after, slower the more tests share the machine.
    assert!(ratio < 2.5, "{what}: the backlog drains {ratio:.2} times slower than the line allows");
    // How long they take is for the one who reads the line above.
    // Nearly every one: a machine that is busy with other tests may let one miss its deadline.
    assert!(
        complete * 10 >= finds.len() * 9,
        "{what}: {complete} of {} finds are answered from above",
        finds.len()
    );
}

/// Commits that the parent does not have.
fn waiting(status: &NodeStatus) -> u64 {
    status.parent.as_ref().map_or(0, |link| link.head.saturating_sub(link.position))
}
