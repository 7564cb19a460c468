//! The unpacker on real archives of every format and on hostile ones (trust.md, T1 to T8). Fails without root.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use model::engine::{UnpackCaps, UnpackRequest, Unpacked};
use runtime::error::Error;
use runtime::rootfs::Folders;
use tar::{Builder, EntryType, Header};

fn main() {
    runtime::run_helper_if_asked();
    let tests: Vec<(&str, fn())> = vec![
        ("smoke_every_compression_gives_the_same_tree", every_compression_gives_the_same_tree),
        ("a_squashfs_image_is_unpacked_like_the_others", a_squashfs_image_is_unpacked_like_the_others),
        ("a_unified_image_loses_its_outer_folder", a_unified_image_loses_its_outer_folder),
        ("names_that_lead_out_are_refused_by_name", names_that_lead_out_are_refused_by_name),
        ("a_link_is_never_written_through", a_link_is_never_written_through),
        ("a_hard_link_stays_inside", a_hard_link_stays_inside),
        ("devices_are_counted_and_not_made", devices_are_counted_and_not_made),
        ("rights_survive_and_dangerous_attributes_do_not", rights_survive_and_dangerous_attributes_do_not),
        ("caps_end_bombs", caps_end_bombs),
        ("a_cut_archive_is_refused", a_cut_archive_is_refused),
        ("a_reader_that_leaves_cancels", a_reader_that_leaves_cancels),
        ("owners_are_the_containers", owners_are_the_containers),
        ("two_at_once_give_one_layer", two_at_once_give_one_layer),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            assert!(rustix::process::geteuid().is_root(), "the unpacker's namespaces need root");
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

struct World {
    folder: tempfile::TempDir,
    folders: Folders,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let folders = Folders::make(&folder.path().join("state")).unwrap();
        std::fs::write(folder.path().join("canary"), "untouched").unwrap();
        Self { folder, folders }
    }

    fn unpack_as(&self, digit: char, archive: &Path, caps: UnpackCaps) -> Result<Unpacked, Error> {
        let digest = std::iter::repeat_n(digit, 64).collect::<String>().parse().unwrap();
        let request = UnpackRequest {
            digest,
            origin: archive.file_name().unwrap().to_string_lossy().into_owned(),
            caps,
        };
        let (mut reader, writer) = std::io::pipe().unwrap();
        let drained = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        let outcome = runtime::unpack::unpack(&self.folders, &request, File::open(archive).unwrap().into(), OwnedFd::from(writer));
        drained.join().unwrap().unwrap();
        outcome
    }

    fn unpack(&self, archive: &Path) -> Result<Unpacked, Error> {
        self.unpack_as('a', archive, UnpackCaps::default())
    }

    fn layer(&self, digit: char) -> PathBuf {
        self.folders.state.join("layers").join(std::iter::repeat_n(digit, 64).collect::<String>())
    }

    /// Writes a tar whose entries `fill` makes.
    fn tar(&self, fill: impl FnOnce(&mut Builder<File>)) -> PathBuf {
        let path = self.folder.path().join("archive.tar");
        let mut builder = Builder::new(File::create(&path).unwrap());
        fill(&mut builder);
        builder.finish().unwrap();
        path
    }

    /// Refused, by a message that holds this; nothing is left and nothing outside was touched.
    fn assert_refused(&self, archive: &Path, part: &str) {
        let error = self.unpack(archive).unwrap_err();
        assert!(error.message.contains(part), "{error} does not say `{part}`");
        self.assert_clean();
    }

    fn assert_clean(&self) {
        for folder in ["staging", "layers"] {
            let left: Vec<_> = std::fs::read_dir(self.folders.state.join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert!(left.is_empty(), "{folder} holds {left:?}");
        }
        assert_eq!(std::fs::read_to_string(self.folder.path().join("canary")).unwrap(), "untouched");
    }
}

/// A raw header: the library refuses to write what it would refuse to read.
fn raw(builder: &mut Builder<File>, name: &[u8], kind: EntryType, link: &[u8], content: &[u8]) {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

/// A small root file system made by the host's own tools.
fn sample(world: &World) -> PathBuf {
    let root = world.folder.path().join("root");
    std::fs::create_dir_all(root.join("usr/bin")).unwrap();
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("usr/bin/tool"), vec![7; 200_000]).unwrap();
    std::fs::set_permissions(root.join("usr/bin/tool"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/again")).unwrap();
    std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
    std::fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
    std::os::unix::fs::chown(root.join("etc/os-release"), Some(100), Some(101)).unwrap();
    root
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

fn assert_sample(layer: &Path, has_links: bool) {
    let tool = layer.join("usr/bin/tool").metadata().unwrap();
    assert_eq!((tool.len(), tool.mode() & 0o7777, tool.uid()), (200_000, 0o4755, 0));
    assert_eq!(std::fs::read_link(layer.join("bin")).unwrap(), Path::new("usr/bin"));
    let release = layer.join("etc/os-release").metadata().unwrap();
    assert_eq!((release.uid(), release.gid()), (100, 101));
    if has_links {
        assert_eq!(tool.ino(), layer.join("usr/bin/again").metadata().unwrap().ino());
    }
}

fn every_compression_gives_the_same_tree() {
    let world = World::new();
    let root = sample(&world);
    let at = |name: &str| world.folder.path().join(name);
    let plain = at("plain.tar");
    run(
        "tar",
        &[
            "--create",
            "--numeric-owner",
            "--file",
            plain.to_str().unwrap(),
            "--directory",
            root.to_str().unwrap(),
            ".",
        ],
    );
    for (digit, program) in [('1', "gzip"), ('2', "xz"), ('3', "zstd"), ('4', "bzip2")] {
        // Named as something else: the content decides.
        let packed = at(&format!("{program}.dat"));
        let output = Command::new(program).args(["--stdout", plain.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success());
        std::fs::write(&packed, output.stdout).unwrap();
        let unpacked = world.unpack_as(digit, &packed, UnpackCaps::default()).unwrap();
        assert_eq!((unpacked.os.as_deref(), unpacked.release.as_deref()), (Some("debian"), Some("12")));
        assert_sample(&world.layer(digit), true);
    }
    world.unpack_as('5', &plain, UnpackCaps::default()).unwrap();
    assert_sample(&world.layer('5'), true);
}

fn a_squashfs_image_is_unpacked_like_the_others() {
    let world = World::new();
    let root = sample(&world);
    for (digit, compression) in [('1', "gzip"), ('2', "xz"), ('3', "zstd")] {
        let image = world.folder.path().join(format!("{compression}.squashfs"));
        run(
            "mksquashfs",
            &[
                root.to_str().unwrap(),
                image.to_str().unwrap(),
                "-comp",
                compression,
                "-quiet",
                "-no-progress",
                "-noappend",
            ],
        );
        world.unpack_as(digit, &image, UnpackCaps::default()).unwrap();
        assert_sample(&world.layer(digit), false);
    }
}

fn a_unified_image_loses_its_outer_folder() {
    let world = World::new();
    let archive = world.tar(|tar| {
        raw(tar, b"metadata.yaml", EntryType::Regular, b"", b"architecture: x86_64\n");
        raw(tar, b"rootfs/etc/hostname", EntryType::Regular, b"", b"x\n");
        raw(tar, b"rootfs/etc/name", EntryType::Link, b"rootfs/etc/hostname", b"");
        raw(tar, b"templates/hostname.tpl", EntryType::Regular, b"", b"{{ x }}\n");
    });
    let unpacked = world.unpack(&archive).unwrap();
    assert_eq!(unpacked.metadata.as_deref(), Some("architecture: x86_64\n"));
    assert_eq!(std::fs::read_to_string(world.layer('a').join("etc/name")).unwrap(), "x\n");
    assert!(!world.layer('a').join("rootfs").exists() && !world.layer('a').join("templates").exists());
}

fn names_that_lead_out_are_refused_by_name() {
    for name in [&b"../canary"[..], b"a/../../canary", b"./..//canary"] {
        let world = World::new();
        let archive = world.tar(|tar| raw(tar, name, EntryType::Regular, b"", b"evil"));
        world.assert_refused(&archive, &name.escape_ascii().to_string());
    }
    let world = World::new();
    let archive = world.tar(|tar| {
        raw(tar, b"/abs", EntryType::Regular, b"", b"inside");
        raw(tar, b"new\nline\x1b", EntryType::Regular, b"", b"x");
    });
    world.unpack(&archive).unwrap();
    assert_eq!(std::fs::read_to_string(world.layer('a').join("abs")).unwrap(), "inside");
    assert!(world.layer('a').join("new\nline\x1b").exists(), "names are byte-exact");
}

fn a_link_is_never_written_through() {
    let world = World::new();
    let outside = world.folder.path().to_str().unwrap().to_owned();
    let archive = world.tar(|tar| {
        raw(tar, b"door", EntryType::Symlink, outside.as_bytes(), b"");
        raw(tar, b"door/canary", EntryType::Regular, b"", b"evil");
    });
    world.assert_refused(&archive, "door/canary");
    let archive = world.tar(|tar| {
        raw(tar, b"up", EntryType::Symlink, b"../..", b"");
        raw(tar, b"up/x", EntryType::Regular, b"", b"evil");
    });
    world.assert_refused(&archive, "up/x");
    // A folder of the same name replaces the link; the target keeps its rights.
    let archive = world.tar(|tar| {
        raw(tar, b"door", EntryType::Symlink, outside.as_bytes(), b"");
        raw(tar, b"door", EntryType::Directory, b"", b"");
        raw(tar, b"file", EntryType::Symlink, b"/etc/shadow", b"");
        raw(tar, b"file", EntryType::Regular, b"", b"mine");
    });
    let before = world.folder.path().metadata().unwrap().mode();
    world.unpack(&archive).unwrap();
    assert!(world.layer('a').join("door").symlink_metadata().unwrap().is_dir());
    assert_eq!(std::fs::read_to_string(world.layer('a').join("file")).unwrap(), "mine");
    assert_eq!(world.folder.path().metadata().unwrap().mode(), before);
}

fn a_hard_link_stays_inside() {
    for target in [&b"/etc/shadow"[..], b"../../canary", b"missing"] {
        let world = World::new();
        let archive = world.tar(|tar| raw(tar, b"stolen", EntryType::Link, target, b""));
        world.assert_refused(&archive, "stolen");
    }
    let links = Path::new("/etc/passwd").metadata().unwrap().nlink();
    let world = World::new();
    let archive = world.tar(|tar| {
        raw(tar, b"etc", EntryType::Symlink, b"/etc", b"");
        raw(tar, b"stolen", EntryType::Link, b"etc/passwd", b"");
    });
    world.assert_refused(&archive, "stolen");
    assert_eq!(Path::new("/etc/passwd").metadata().unwrap().nlink(), links);
}

fn devices_are_counted_and_not_made() {
    let world = World::new();
    let archive = world.tar(|tar| {
        raw(tar, b"dev/null", EntryType::Char, b"", b"");
        raw(tar, b"dev/sda", EntryType::Block, b"", b"");
        raw(tar, b"pipe", EntryType::Fifo, b"", b"");
    });
    let unpacked = world.unpack(&archive).unwrap();
    assert_eq!(unpacked.left_out, ["device nodes: 2"]);
    assert!(!world.layer('a').join("dev/null").exists());
    assert!(world.layer('a').join("pipe").symlink_metadata().is_ok());
}

fn rights_survive_and_dangerous_attributes_do_not() {
    let world = World::new();
    let archive = world.tar(|tar| {
        let capability: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let attributes: Vec<(&str, &[u8])> = vec![
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ];
        tar.append_pax_extensions(attributes).unwrap();
        raw(tar, b"ping", EntryType::Regular, b"", b"x");
    });
    world.unpack(&archive).unwrap();
    let mut names = vec![0; 4096];
    let got = rustix::fs::listxattr(world.layer('a').join("ping"), &mut names).unwrap();
    let names = String::from_utf8_lossy(&names[..got]).into_owned();
    assert!(names.contains("security.capability"), "{names}");
    assert!(!names.contains("overlay"), "{names}");
}

fn caps_end_bombs() {
    let world = World::new();
    let zeros = world.folder.path().join("zeros.tar");
    run(
        "tar",
        &["--create", "--file", zeros.to_str().unwrap(), "--directory", "/", "--files-from", "/dev/null"],
    );
    let big = world.folder.path().join("big");
    File::create(&big).unwrap().set_len(400 << 20).unwrap();
    run(
        "tar",
        &[
            "--create",
            "--file",
            zeros.to_str().unwrap(),
            "--directory",
            world.folder.path().to_str().unwrap(),
            "big",
        ],
    );
    let output = Command::new("zstd").args(["--stdout", zeros.to_str().unwrap()]).output().unwrap();
    std::fs::write(world.folder.path().join("bomb"), output.stdout).unwrap();
    std::fs::remove_file(&zeros).unwrap();
    world.assert_refused(&world.folder.path().join("bomb"), "200 times its size");
    let archive = world.tar(|tar| (0..50).for_each(|n| raw(tar, format!("f{n}").as_bytes(), EntryType::Regular, b"", &[1; 100])));
    for (caps, part) in [
        (
            UnpackCaps {
                entries: 10,
                ..UnpackCaps::default()
            },
            "more than 10 entries",
        ),
        (
            UnpackCaps {
                bytes: 1000,
                ..UnpackCaps::default()
            },
            "more than 1000 bytes",
        ),
    ] {
        let error = world.unpack_as('b', &archive, caps).unwrap_err();
        assert!(error.message.contains(part), "{error}");
        world.assert_clean();
    }
}

fn a_cut_archive_is_refused() {
    let world = World::new();
    let root = sample(&world);
    let whole = world.folder.path().join("whole.tar.xz");
    run(
        "tar",
        &[
            "--create",
            "--xz",
            "--file",
            whole.to_str().unwrap(),
            "--directory",
            root.to_str().unwrap(),
            ".",
        ],
    );
    let bytes = std::fs::read(&whole).unwrap();
    for share in [5, 35, 65, 95] {
        let cut = world.folder.path().join("cut");
        std::fs::write(&cut, &bytes[..bytes.len() * share / 100]).unwrap();
        assert!(world.unpack(&cut).is_err(), "{share} % of an archive");
        world.assert_clean();
    }
    std::fs::write(world.folder.path().join("text"), "just a text").unwrap();
    world.assert_refused(&world.folder.path().join("text"), "no archive that Berth knows");
}

fn a_reader_that_leaves_cancels() {
    let world = World::new();
    let archive = world.tar(|tar| (0..2000).for_each(|n| raw(tar, format!("f{n}").as_bytes(), EntryType::Regular, b"", &[1; 4096])));
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"").unwrap();
    drop(reader);
    let request = UnpackRequest {
        digest: "c".repeat(64).parse().unwrap(),
        origin: "x".into(),
        caps: UnpackCaps::default(),
    };
    let outcome = runtime::unpack::unpack(&world.folders, &request, File::open(&archive).unwrap().into(), writer.into());
    assert!(outcome.unwrap_err().message.contains("cancelled"));
    world.assert_clean();
}

fn owners_are_the_containers() {
    let world = World::new();
    let archive = world.tar(|tar| {
        let mut header = Header::new_gnu();
        header.set_path("far").unwrap();
        header.set_uid(100_000);
        header.set_gid(0);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
    });
    world.assert_refused(&archive, "100000");
}

fn two_at_once_give_one_layer() {
    let world = Arc::new(World::new());
    let archive = world.tar(|tar| (0..200).for_each(|n| raw(tar, format!("f{n}").as_bytes(), EntryType::Regular, b"", &[1; 4096])));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (world, archive) = (Arc::clone(&world), archive.clone());
            std::thread::spawn(move || world.unpack(&archive).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(std::fs::read_dir(world.layer('a')).unwrap().count(), 200);
    assert_eq!(std::fs::read_dir(world.folders.state.join("staging")).unwrap().count(), 0);
}
