//! A small disk for a node: ext4 in a loop device, filled by ballast.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const BALLAST: &str = "ballast";

/// How much room the ballast leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Less than the store keeps in reserve, so that it refuses by itself.
    Little,
    /// None at all: the operating system refuses.
    Nothing,
}

/// A file system in a file, mounted; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Makes a disk of so many MiB in `image` and mounts it; none where there is no root or no loop device.
    pub fn make(image: &Path, mib: u64, at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        File::create(image).and_then(|file| file.set_len(mib << 20)).expect("an image");
        // No blocks kept back for root, as whom these tests run.
        let made = run("mkfs.ext4", &["-q", "-m", "0", image.to_str()?]);
        let mounted = made && run("mount", &["-o", "loop", image.to_str()?, at.to_str()?]);
        mounted.then(|| Self { mount: at.to_owned() })
    }

    /// Fills the disk.
    pub fn fill(&self, left: Left) {
        let spare = match left {
            Left::Little => 16 << 20,
            Left::Nothing => 0,
        };
        let file =
            OpenOptions::new().create(true).append(true).open(self.mount.join(BALLAST)).expect("ballast");
        let block = vec![0xa5; 1 << 20];
        let mut size = 1 << 20;
        // The node writes meanwhile, so what is free is asked again and again; smaller and smaller pieces fit at last.
        while size >= 4096 {
            let at = file.metadata().expect("the ballast's size").len();
            let fits = self.free() >= spare + size;
            if !fits || file.write_all_at(&block[..size as usize], at).is_err() {
                size /= 2;
            }
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.mount.join(BALLAST)).expect("the ballast goes");
    }

    /// Bytes free.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.mount).expect("the disk answers");
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A lazy one: a failing test must not leave the mount behind because something still has a file open.
        run("umount", &["-l", self.mount.to_str().unwrap_or_default()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
