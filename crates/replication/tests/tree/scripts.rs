//! Scenarios as scripts: commands, `---`, what they print. `TIERMESH_UPDATE_SCRIPTS=1` writes the output into the files.
//!
//! ```text
//! start X            power on; opens an epoch, or waits for the parent if the disk is empty
//! begin X            opens an epoch without the parent: a node that stood alone until now
//! connect X          the feed to the parent, kept up
//! down X             keeps the down feed from X's parent up, and lets it restore X
//! disconnect X       takes it down
//! break X UP DOWN    connects; the first connection breaks after so many frames to or from the parent
//! register X I P N   N patients P1 … PN of institution I
//! name X I P N NAME  as `register`, with a name: registrations of one name are one person
//! rename X I         writes the enrolment of institution I anew
//! kill X             power off; what was not synced is gone
//! stop X             power off
//! wipe X             the disk is replaced by an empty one (`wipe X N`: with identity N)
//! save X / load X    takes a backup of the disk / puts it back
//! clone X Y          Y is a copy of X under the same path
//! move X PATH        X takes another path (and mesh: `move X PATH MESH`)
//! raw X WHAT         puts a record into X's log that X should not have: see `raw`
//! newer X I          puts records into X's log as a newer release writes them: unknown fields, kind, flow class
//! speaks X V…        X is of a release with these versions of the protocol, from its next start on
//! spoken X           the version that X and its parent agreed on
//! unchanged X        how many of all such records X holds, byte for byte
//! skip X             X's parent takes X's feed for applied up to its end, and applied nothing of it
//! plant X I          X's parent holds a registration of X's that X does not hold
//! twist X I P        X's parent holds X's registration P of institution I with other bytes under the same version
//! proof X            whether X's feed is proven
//! told X             whether the down feed to X is proven, as its parent and X say
//! lose X I P         X loses registration P of institution I, whoever filed it
//! give X Y I P       X gets Y's registration P of institution I, which nobody told it
//! reclaim X          X frees the space of superseded records
//! disk X FREE        limits X's disk to what it holds and FREE bytes (`disk X -`: no limit)
//! settle             waits until all that is connected is caught up
//! wait S             lets S seconds pass
//! show X             what X holds; its links
//! same X Y           whether Y holds all that X holds, byte for byte
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::body::Kind;
use model::record::Unsigned;
use model::{Clock, Record, SigningKey, Version};
use replication::Health;
use store::{Apply, Cut, Expect, Memory};

use crate::newer;
use crate::node::{Machine, Node, TestClock, door, until};
use crate::wire::{Breaks, Door, NEVER, connect};

struct World {
    clock: Arc<dyn Clock>,
    machines: BTreeMap<String, Machine>,
    saved: BTreeMap<String, Machine>,
    nodes: BTreeMap<String, Node>,
    doors: BTreeMap<String, Door>,
    started: u64,
    /// Records of a newer release.
    newer: Vec<Record>,
}

const PLACES: [(&str, &str); 7] = [
    ("province", "530000"),
    ("dali", "530000/532900"),
    ("wenshan", "530000/532600"),
    ("dali-city", "530000/532900/532901"),
    ("xiangyun", "530000/532900/532923"),
    ("wenshan-city", "530000/532600/532601"),
    ("guizhou", "520000"),
];

impl World {
    fn new() -> Self {
        let machine = |(at, (name, path)): (usize, &(&str, &str))| {
            ((*name).to_owned(), Machine::new(path, at as u8 + 1))
        };
        Self {
            clock: Arc::new(TestClock::new()),
            machines: PLACES.iter().enumerate().map(machine).collect(),
            saved: BTreeMap::new(),
            nodes: BTreeMap::new(),
            doors: BTreeMap::new(),
            started: 0,
            newer: Vec::new(),
        }
    }

    fn door(&mut self, path: &str) -> Door {
        self.doors.entry(path.into()).or_insert_with(door).clone()
    }

    fn parent_door(&mut self, name: &str) -> Door {
        let parent = self.machines[name].path.parent().map_or_else(String::new, |parent| parent.to_string());
        self.door(&parent)
    }

    /// Runs one command and says what came of it; most say nothing.
    async fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, name) = (words[0], words.get(1).copied().unwrap_or_default());
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match command {
            "start" => return self.start(name).await,
            "begin" => return self.begin(name).await,
            "connect" => return self.connect(name, NEVER).await,
            "break" => {
                return self
                    .connect(name, Breaks { up_after: number(2) as usize, down_after: number(3) as usize })
                    .await;
            }
            "disconnect" => self.node(name).drop_link(),
            "register" => return self.register(name, words[2], words[3], number(4)).await,
            "down" => self.down(name),
            "name" => {
                let node = self.node(name);
                for n in 1..=number(4) {
                    node.register(words[2], &format!("{}{n}", words[3]), words[5]).await.unwrap();
                }
            }
            "rename" => self.rename(name, words[2]).await,
            "kill" => self.kill(name),
            "stop" => drop(self.nodes.remove(name)),
            "wipe" => {
                let seed = words.get(2).map(|_| number(2) as u8);
                let machine = self.machines.get_mut(name).unwrap();
                let fresh = Machine::new("530000", seed.unwrap_or(0));
                (machine.storage, machine.index) = (Memory::new(99 + self.started), fresh.index);
                if seed.is_some() {
                    (machine.origin, machine.key) = (fresh.origin, fresh.key);
                }
            }
            "save" => drop(self.saved.insert(name.into(), self.machines[name].copy())),
            "load" => drop(self.machines.insert(name.into(), self.saved[name].copy())),
            "clone" => drop(self.machines.insert(words[2].into(), self.machines[name].copy())),
            "move" => {
                let machine = self.machines.get_mut(name).unwrap();
                machine.path = words[2].parse().unwrap();
                if let Some(mesh) = words.get(3) {
                    machine.trust_domain = mesh.parse().unwrap();
                }
            }
            "raw" => self.raw(name, words[2]).await,
            "newer" => self.newer.extend(newer::commit(&self.nodes[name], words[2]).await),
            "speaks" => self.speaks(name, &words[2..]),
            "spoken" => return self.spoken(name),
            "unchanged" => return self.unchanged(name),
            "skip" => self.skip(name).await,
            "plant" => self.plant(name, words[2], "planted").await,
            "twist" => self.plant(name, words[2], words[3]).await,
            "told" => return self.told(name),
            "lose" => self.lose(name, words[2], words[3]).await,
            "holds" => return self.holds(name, words[2], words[3]),
            "give" => self.give(name, words[2], words[3], words[4]).await,
            "reclaim" => while self.nodes[name].store.reclaim(u64::MAX).unwrap().more {},
            "proof" => return self.proof(name),
            "disk" => self.limit_disk(name, words[2]),
            "settle" => self.settle().await,
            "wait" => tokio::time::sleep(Duration::from_secs(number(1))).await,
            "show" => return self.show(name),
            "same" => return self.same(name, words[2]),
            other => panic!("no command {other}"),
        }
        String::new()
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("{name} does not run"))
    }

    async fn start(&mut self, name: &str) -> String {
        let path = self.machines[name].path.to_string();
        // A clone does not take the place where children find the node.
        let taken = self.nodes.values().any(|node| node.machine.path.to_string() == path);
        let door = if taken { door() } else { self.door(&path) };
        let node = self.machines[name].start(&self.clock, &door);
        let unknown = node.store.last_epoch().is_none() || replication::is_restoring(&node.store);
        let waits = unknown && node.machine.path.depth() > 0;
        self.nodes.insert(name.into(), node);
        if waits {
            return format!("{name} waits for its parent\n");
        }
        self.begin(name).await
    }

    async fn begin(&mut self, name: &str) -> String {
        self.started += 1;
        let epoch = self.nodes[name].begin(self.started).await;
        self.node(name).writing = true;
        format!("{name} writes in epoch {}\n", epoch.counter)
    }

    /// Connects once to see the answer; a welcome node then stays connected.
    async fn connect(&mut self, name: &str, breaks: Breaks) -> String {
        let parent = self.parent_door(name);
        let sender = self.node(name).sender.clone();
        let path = self.machines[name].path.clone();
        let mut welcome = sender.may_begin();
        welcome.mark_unchanged();
        let refused = {
            let once = connect(&sender, path, &parent, NEVER);
            tokio::select! {
                biased;
                error = once => Some(error),
                _ = welcome.changed() => None,
            }
        };
        if let Some(error) = refused {
            return format!("{name}: {} {error}\n", error.reason());
        }
        let waits = !self.nodes[name].writing;
        let said = if waits { self.begin(name).await } else { String::new() };
        self.node(name).keep_link(&parent, breaks);
        said
    }

    async fn register(&mut self, name: &str, code: &str, patient: &str, count: u64) -> String {
        let node = self.node(name);
        for n in 1..=count {
            if let Err(error) = node.register(code, &format!("{patient}{n}"), "name").await {
                return format!("{name}: {error}\n");
            }
        }
        String::new()
    }

    fn down(&mut self, name: &str) {
        let (path, above) = (self.machines[name].path.clone(), self.machines[name].path.parent().unwrap());
        let door = self.door(&path.to_string());
        let parent = self.nodes.values_mut().find(|node| node.machine.path == above).unwrap();
        parent.keep_child(path, &door);
    }

    async fn rename(&mut self, name: &str, code: &str) {
        let node = self.node(name);
        let draft = node.institution_draft(code, "a new name");
        let record = node.store.commit(vec![draft]).await.unwrap().records.remove(0);
        node.directory.learn(&record);
    }

    fn kill(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        self.machines.insert(name.into(), node.machine.crashed(Cut::Synced));
    }

    /// Records that should not be: `garbled` (a body that is none), `foreign` (of an institution that files elsewhere),
    /// `forged` (signed by another key under this node's name), `unknown` (a kind and flow of a later release), `claim`
    /// (an institution that files elsewhere).
    async fn raw(&mut self, name: &str, what: &str) {
        let node = self.node(name);
        let registration = node.registration_draft("H1", "raw1", "");
        let mut draft = match what {
            "garbled" => store::Draft { body: vec![0xFF, 0xFF].into(), ..registration },
            "foreign" => node.registration_draft("H9", "raw1", ""),
            "claim" => node.institution_draft("H9", ""),
            "unknown" => {
                store::Draft { kind: 4711, body: vec![0xFE; 40].into(), subject: None, ..registration }
            }
            "forged" => return forge(node).await,
            other => panic!("no record {other}"),
        };
        draft.expect = Expect::Anything;
        node.store.commit(vec![draft]).await.unwrap();
    }

    fn parent_of(&self, name: &str) -> &Node {
        let above = self.machines[name].path.parent().unwrap();
        self.nodes.values().find(|node| node.machine.path == above).unwrap()
    }

    async fn skip(&self, name: &str) {
        let child = &self.nodes[name].store;
        let feed = store::FeedId { peer: self.machines[name].origin, direction: store::Direction::Up };
        let newest = child.last_epoch().expect("it writes");
        let generation = replication::numbering::numbering(&child.generation(), &newest);
        let end = store::FeedPosition { generation, position: child.head() };
        let apply = Apply { position: Some((feed, end)), ..Apply::default() };
        self.parent_of(name).store.apply(apply).await.unwrap();
    }

    /// Puts a registration that the node signed, and never committed, into its parent.
    async fn plant(&self, name: &str, code: &str, patient: &str) {
        let node = &self.nodes[name];
        let mut draft = node.registration_draft(code, patient, "");
        let held = node.store.version(&draft.key()).unwrap();
        let seq = node.store.last_seq();
        let version = held.unwrap_or(Version { term: 1, epoch: 1, seq });
        if held.is_some() {
            draft.body = vec![].into();
        }
        let unsigned = Unsigned {
            flow: draft.flow,
            kind: draft.kind,
            id: draft.id,
            origin: draft.origin,
            subject: draft.subject,
            tombstone: held.is_some(),
            body: draft.body,
        };
        let record = Record::sign(unsigned, version, 0, &node.machine.key).unwrap();
        let apply = Apply { records: vec![record], ..Apply::default() };
        self.parent_of(name).store.apply(apply).await.unwrap();
    }

    fn proof(&self, name: &str) -> String {
        let above = self.machines[name].path.parent().unwrap();
        let below = &self.machines[name].path;
        let say = |node: &Node, other: &model::NodePath| {
            let link = node.links.view(other).unwrap();
            let said = match (&link.disproven, link.proven_ms) {
                (Some(_), _) => "different".to_owned(),
                (None, 0) => "not proven".to_owned(),
                (None, _) => format!("{} records proven", link.proven_records),
            };
            format!("{said}, {} repaired", link.repaired)
        };
        let (mine, theirs) = (say(&self.nodes[name], &above), say(self.parent_of(name), below));
        format!("{name}: {mine}; above: {theirs}\n")
    }

    fn unchanged(&self, name: &str) -> String {
        let held = newer::held(&self.nodes[name], &self.newer);
        format!("{name} holds {held} of {} unchanged\n", self.newer.len())
    }

    fn speaks(&mut self, name: &str, versions: &[&str]) {
        let versions = versions.iter().map(|version| version.parse().unwrap());
        self.machines.get_mut(name).unwrap().protocols = versions.collect();
    }

    fn spoken(&self, name: &str) -> String {
        let welcome = self.nodes[name].sender.may_begin();
        let said =
            welcome.borrow().as_ref().map_or("nothing".to_owned(), |welcome| welcome.protocol.to_string());
        format!("{name} and its parent speak {said}\n")
    }

    /// In which version it holds a registration.
    fn holds(&self, name: &str, code: &str, patient: &str) -> String {
        let node = &self.nodes[name];
        let held = node.store.version(&node.registration_draft(code, patient, "").key()).unwrap();
        let held = held.map_or("nothing".to_owned(), |version| version.to_string());
        format!("{name} holds {held} of {code} {patient}\n")
    }

    async fn give(&self, name: &str, from: &str, code: &str, patient: &str) {
        let from = &self.nodes[from];
        let key = from.registration_draft(code, patient, "").key();
        let records = from.store.get(&key).unwrap().into_iter().collect();
        self.nodes[name].store.apply(Apply { records, ..Apply::default() }).await.unwrap();
    }

    async fn lose(&self, name: &str, code: &str, patient: &str) {
        let node = &self.nodes[name];
        let key = node.registration_draft(code, patient, "").key();
        let version = node.store.version(&key).unwrap().unwrap();
        let apply = Apply { forget: vec![(key, version)], ..Apply::default() };
        assert_eq!(node.store.apply(apply).await.unwrap().forgotten, 1);
    }

    fn told(&self, name: &str) -> String {
        let (above, below) = (self.parent_of(name), &self.nodes[name]);
        let now_ms = self.clock.now_ms();
        let say = |node: &Node, other: &model::NodePath| {
            let link = node.links.down().view(other).unwrap();
            let ago = now_ms - link.proven_ms.min(now_ms);
            let said = match (&link.disproven, link.proven_ms) {
                (Some(_), _) => "different".to_owned(),
                (None, 0) => "not proven".to_owned(),
                (None, _) if ago > 600_000 => "not proven lately".to_owned(),
                (None, _) => format!("{} records proven", link.proven_records),
            };
            let health = format!("{:?}", link.health(now_ms).0).to_lowercase();
            let (repaired, retracted, surplus) = (link.repaired, link.retracted, link.surplus);
            format!("{health}, {said}, {repaired} repaired, {retracted} retracted, surplus {surplus}")
        };
        let (mine, theirs) = (say(below, &above.machine.path), say(above, &below.machine.path));
        format!("{name}: {mine}\n  above: {theirs}\n")
    }

    fn limit_disk(&mut self, name: &str, free: &str) {
        let storage = &self.node(name).machine.storage;
        storage.set_capacity(None);
        let held: u64 = store::Storage::list(storage)
            .unwrap()
            .iter()
            .map(|file| store::Storage::len(storage, file).unwrap())
            .sum();
        storage.set_capacity(free.parse::<u64>().ok().map(|free| held + free));
    }

    async fn settle(&mut self) {
        let nodes: Vec<&Node> = self.nodes.values().collect();
        let connected = |node: &&&Node| {
            node.machine.path.parent().and_then(|at| node.links.view(&at)).is_some_and(|link| link.connected)
        };
        // Connections that broke a moment ago come back within a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        until("the links to settle", || nodes.iter().filter(connected).all(|node| node.is_caught_up())).await;
    }

    fn show(&self, name: &str) -> String {
        let node = &self.nodes[name];
        let (status, view) = (node.store.status(), node.directory.snapshot());
        let mut out = format!(
            "{name}: {} registrations, {} nodes, {} institutions, {} epochs, {} quarantined\n",
            status.live(Kind::Registration as u32),
            view.nodes().count(),
            view.institutions().count(),
            status.live(Kind::Epoch as u32),
            status.quarantined,
        );
        for one in node.store.quarantine(100).unwrap() {
            writeln!(out, "  quarantined: {}", one.reason).unwrap();
        }
        for link in node.links.all() {
            let (health, reason) = link.health(self.clock.now_ms());
            let health = match health {
                Health::Green => "green",
                Health::Amber => "amber",
                Health::Red => "red",
            };
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let (path, applied, repeated) = (&link.path, link.applied, link.repeated);
            writeln!(
                out,
                "  {path}: {health}, behind {}, {applied} applied, {repeated} repeated{why}",
                link.behind()
            )
            .unwrap();
        }
        for (what, links) in [("down", node.links.down()), ("restore", node.links.restores())] {
            for link in links.all() {
                let (path, applied, repeated) = (&link.path, link.applied, link.repeated);
                let behind = link.behind();
                writeln!(out, "  {what} {path}: behind {behind}, {applied} applied, {repeated} repeated")
                    .unwrap();
            }
        }
        out
    }

    fn same(&self, one: &str, other: &str) -> String {
        let (mine, theirs) = (self.nodes[one].records(), self.nodes[other].records());
        let missing = mine.iter().filter(|record| !theirs.contains(record)).count();
        match missing {
            0 => format!("{other} holds all of {one}\n"),
            missing => format!("{other} lacks {missing} of {one}\n"),
        }
    }
}

/// A record that names this node's key and origin but was signed with another key: the store takes it, nobody else may.
async fn forge(node: &mut Node) {
    let draft = node.registration_draft("H1", "forged", "");
    let version = Version { term: 1, epoch: 1, seq: 1_000 };
    let unsigned = |subject| Unsigned {
        flow: draft.flow,
        kind: draft.kind,
        id: draft.id,
        origin: draft.origin,
        subject,
        tombstone: false,
        body: draft.body.clone(),
    };
    let real = Record::sign(unsigned(draft.subject), version, 0, &node.machine.key).unwrap();
    let other = SigningKey::from_seed(&[77; 32]).sign(real.header_bytes());
    let raw = model::body::RawRecord { signature: other.to_vec().into(), ..real.to_raw() };
    let forged = Record::from_raw(raw).unwrap();
    node.store.apply(Apply { records: vec![forged], ..Apply::default() }).await.unwrap();
}

/// Runs a script's blocks; answers the script with the output that it had.
async fn play(script: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for block in script.split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "---").collect();
        let mut said = String::new();
        for command in &commands {
            if !command.starts_with('#') && !command.trim().is_empty() {
                said.push_str(&world.run(command).await);
            }
        }
        let separator = if out.is_empty() { "" } else { "\n" };
        write!(out, "{separator}{}\n---\n{said}", commands.join("\n")).unwrap();
    }
    out
}

fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name).with_extension("txt");
    let script = std::fs::read_to_string(&file).unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let played = runtime.block_on(play(script.trim_end()));
    if std::env::var_os("TIERMESH_UPDATE_SCRIPTS").is_some() {
        std::fs::write(&file, &played).unwrap();
        return;
    }
    assert_eq!(played.trim_end(), script.trim_end(), "{name}");
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        /// A script that nobody runs would say nothing.
        #[test]
        fn every_script_is_run() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
            let mut found: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            found.sort();
            let mut run = vec![$(stringify!($name).to_owned()),*];
            run.sort();
            assert_eq!(found, run);
        }
    };
}

scripts!(
    clone_beside,
    compare,
    disk_full,
    down,
    forgotten_again,
    late_join,
    lost_disk,
    newer,
    old_backup,
    parent_restarts,
    poison,
    proof,
    rejoin,
    restore,
    second_claim,
    stall,
    two_hops,
    versions,
    wrong_tree,
);
