//! The power goes off: an image of the disk, taken while a node writes to it, is reopened as another boot would.
//!
//! The node's data lives on an ext4 file system in a loop device. The node is frozen, the device's bytes are copied (what the
//! page cache still holds is not in them), and everything acknowledged by then must be in the copy, content included.
//! Needs root and loop devices; where the machine has neither, the test says so, and `store`'s own power-loss tests remain.
//! `TIERMESH_LOSSES` says how many losses (5), `TIERMESH_SEED` which.

use std::path::{Path, PathBuf};
use std::process::Command;

use demo::tree::{LocalTree, Plan, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::Writers;

const IMAGE_MIB: u64 = 512;
/// Share of what earlier images were asked for that the next one is asked for again.
const OLD_SHARE: f64 = 0.1;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// A file system in a file, mounted; unmounted when dropped.
struct Disk {
    mount: PathBuf,
}

impl Disk {
    fn mount(image: &Path, at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        // A long commit interval: nothing reaches the disk by itself that the node did not sync.
        let arguments = ["-o", "loop,commit=300", image.to_str()?, at.to_str()?];
        run("mount", &arguments).then(|| Self { mount: at.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A lazy one: a failing test must not leave the mount behind because something still has a file open.
        run("umount", &["-l", self.mount.to_str().unwrap_or_default()]);
    }
}

fn plan() -> Plan {
    Plan { path: "530000".parse().expect("a path"), name: "云南省".into(), tier: "province".into() }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        executable: PathBuf::from(env!("CARGO_BIN_EXE_tiermesh-under-test")),
        dir: dir.into(),
        store: "segment_mib = 1\noverlay_mib = 1\ncache_mib = 4".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_in_the_image() {
    let (losses, seed) = (number("TIERMESH_LOSSES", 5), number("TIERMESH_SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("disk.img");
    std::fs::File::create(&image).and_then(|file| file.set_len(IMAGE_MIB << 20)).expect("an image");
    let made = run("mkfs.ext4", &["-q", image.to_str().expect("a path")]);
    let dir = folder.path().join("tree");
    let mut tree = LocalTree::create(settings(&dir), vec![plan()]).expect("certificates");
    let path = tree.paths()[0].clone();
    let Some(_disk) = made.then(|| Disk::mount(&image, &tree.node_dir(&path).join("data"))).flatten() else {
        println!("no loop devices or no root here: only store's simulated power losses are tested");
        return;
    };
    println!("seed {seed}, {losses} power losses");
    tree.start(&path).await.expect("the node starts");
    let code = hospital(&tree);
    let credentials = tree.institution(&path, &code).expect("a certificate");
    let client = tree.connect(&path, &credentials).await.expect("a connection");
    let writers = Writers::start(vec![(path.clone(), code, client)], 4, seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut looked_at = tests::Ledger::default();
    for loss in 1..=losses {
        writers.advance(rng.random_range(1..40)).await;
        let pid =
            Pid::from_raw(i32::try_from(tree.process_id(&path).expect("it runs")).expect("a process id"));
        kill(pid, Signal::SIGSTOP).expect("frozen");
        let acknowledged = writers.ledger();
        let copy = folder.path().join("copy.img");
        copy_at_rest(&image, &copy);
        // Everything new is asked back and a share of the rest; of the last image everything.
        let share = if loss == losses { 1.0 } else { OLD_SHARE };
        let asked = acknowledged.since(&looked_at, share, &mut rng);
        // Still frozen meanwhile: the disk must not fill while the copy is looked at.
        let what = format!("loss {loss} of seed {seed}");
        reopen(&tree, &copy, folder.path(), &acknowledged, &asked, &what).await;
        looked_at = acknowledged;
        kill(pid, Signal::SIGCONT).expect("going on");
    }
    writers.finish().await;
    tree.stop_all().await.expect("it stops");
}

/// Copies the disk as it is at one moment: the kernel may be writing back, and a copy that it overtakes is of no moment at all.
fn copy_at_rest(image: &Path, copy: &Path) {
    const TRIES: usize = 100;
    let changed = || std::fs::metadata(image).and_then(|disk| disk.modified()).expect("its time of change");
    let paths = [image, copy].map(|path| path.to_str().expect("a path"));
    for _ in 0..TRIES {
        let before = changed();
        assert!(run("cp", &["--sparse=always", paths[0], paths[1]]));
        if changed() == before {
            return;
        }
        println!("the disk changed while it was copied: copied again");
    }
    panic!("the disk does not come to rest");
}

/// Code of the hospital that writes.
fn hospital(tree: &LocalTree) -> String {
    demo::synth::social_credit_code(tree.paths()[0].region(), "K1")
}

/// Starts a node on a copy of the disk, as after a reboot, and asks everything back. The copy may hold more than was
/// acknowledged: a write that was durable and not yet answered.
async fn reopen(
    tree: &LocalTree,
    copy: &Path,
    folder: &Path,
    acknowledged: &tests::Ledger,
    asked: &tests::Ledger,
    what: &str,
) {
    let path = tree.paths()[0].clone();
    let second = folder.join("second");
    let home = second.join("nodes").join(path.to_string());
    let _ = std::fs::remove_dir_all(&second);
    std::fs::create_dir_all(&home).expect("a folder");
    for part in ["identity", "operator", "institutions"] {
        assert!(run(
            "cp",
            &[
                "-a",
                tree.node_dir(&path).join(part).to_str().expect("a path"),
                home.to_str().expect("a path")
            ]
        ));
    }
    let _disk = Disk::mount(copy, &home.join("data")).expect("the copy mounts");
    let mut other = LocalTree::adopt(settings(&second), vec![plan()]);
    other.set_environment("TIERMESH_BOOT_ID", what);
    other.start(&path).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let reader =
        other.connect(&path, &home.join("institutions").join(hospital(tree))).await.expect("a hospital");
    let opened = reader.status().await.expect("status").store.expect("a store").opened;
    assert!(opened.contains("power loss"), "{what}: the node did not notice: {opened}");
    let held = tests::held_by(&reader).await;
    let least = (acknowledged.patients.len() as u64, acknowledged.documents.len() as u64);
    assert!(held.registrations >= least.0 && held.documents >= least.1, "{what}: {held:?}, not {least:?}");
    tests::check_at_least(&reader, asked, Some(&reader)).await;
    other.stop_all().await.expect("it stops");
}
