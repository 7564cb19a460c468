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
    let mut tests: Vec<(&str, fn())> = vec![
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
        ("metadata_may_come_last", metadata_may_come_last),
        ("a_root_may_be_wrapped_in_a_folder", a_root_may_be_wrapped_in_a_folder),
        ("what_is_no_root_file_system_is_refused", what_is_no_root_file_system_is_refused),
        ("the_last_of_two_entries_with_one_name_wins", the_last_of_two_entries_with_one_name_wins),
        ("long_and_broken_names_are_refused", long_and_broken_names_are_refused),
        (
            "a_hard_link_to_a_link_writes_nothing_through_it",
            a_hard_link_to_a_link_writes_nothing_through_it,
        ),
        ("files_with_holes_are_as_gnu_tar_reads_them", files_with_holes_are_as_gnu_tar_reads_them),
        ("extended_headers_mean_what_gnu_tar_means", extended_headers_mean_what_gnu_tar_means),
        ("headers_and_skipped_content_are_bounded", headers_and_skipped_content_are_bounded),
        ("every_compressor_stops_at_the_ratio", every_compressor_stops_at_the_ratio),
        (
            "cuts_flips_and_junk_are_found_by_every_compressor",
            cuts_flips_and_junk_are_found_by_every_compressor,
        ),
        ("an_archive_of_several_members_is_read_whole", an_archive_of_several_members_is_read_whole),
        ("time_runs_out", time_runs_out),
        ("a_window_of_gigabytes_is_refused", a_window_of_gigabytes_is_refused),
        ("devices_of_a_squashfs_image_are_left_out", devices_of_a_squashfs_image_are_left_out),
    ];
    // Made by `cargo xtask images`, which not every machine has run.
    if std::env::var_os("BERTH_TEST_IMAGES").is_some() {
        tests.push(("real_images_are_as_other_tools_unpack_them", real_images_are_as_other_tools_unpack_them));
    }
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            assert!(rustix::process::geteuid().is_root(), "the unpacker's namespaces need root");
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// The usual bounds, for trees of a few entries.
fn loose() -> UnpackCaps {
    UnpackCaps {
        least_entries: 0,
        ..UnpackCaps::default()
    }
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
        self.unpack_as('a', archive, loose())
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
        let unpacked = world.unpack_as(digit, &packed, loose()).unwrap();
        assert_eq!((unpacked.os.as_deref(), unpacked.release.as_deref()), (Some("debian"), Some("12")));
        assert_sample(&world.layer(digit), true);
    }
    world.unpack_as('5', &plain, loose()).unwrap();
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
        world.unpack_as(digit, &image, loose()).unwrap();
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
        (UnpackCaps { entries: 10, ..loose() }, "more than 10 entries"),
        (UnpackCaps { bytes: 1000, ..loose() }, "more than 1000 bytes"),
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
        caps: loose(),
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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn pack(program: &str, plain: &Path) -> Vec<u8> {
    let output = Command::new(program).args(["--stdout", text(plain)]).output().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

fn metadata_may_come_last() {
    let world = World::new();
    let root = |tar: &mut Builder<File>| {
        raw(tar, b"./rootfs", EntryType::Directory, b"", b"");
        raw(tar, b"./rootfs/etc/hostname", EntryType::Regular, b"", b"x\n");
        raw(tar, b"./rootfs/etc/name", EntryType::Link, b"./rootfs/etc/hostname", b"");
    };
    let archive = world.tar(|tar| {
        root(tar);
        raw(tar, b"./rootfs/stolen", EntryType::Link, b"metadata.yaml", b"");
    });
    world.assert_refused(&archive, "rootfs/stolen");
    let archive = world.tar(|tar| {
        root(tar);
        raw(tar, b"metadata.yaml", EntryType::Regular, b"", b"architecture: x86_64\n");
    });
    let unpacked = world.unpack(&archive).unwrap();
    assert_eq!(unpacked.metadata.as_deref(), Some("architecture: x86_64\n"));
    assert_eq!(std::fs::read_to_string(world.layer('a').join("etc/name")).unwrap(), "x\n");
    let world = World::new();
    let archive = world.tar(|tar| raw(tar, b"metadata.yaml", EntryType::Regular, b"", &vec![b'a'; 1 << 20]));
    world.assert_refused(&archive, "metadata.yaml");
}

/// Twelve entries of which one is the shell.
fn small_root(tar: &mut Builder<File>, below: &str) {
    raw(tar, format!("{below}etc/os-release").as_bytes(), EntryType::Regular, b"", b"ID=quayos\n");
    raw(tar, format!("{below}bin/busybox").as_bytes(), EntryType::Regular, b"", b"program");
    raw(tar, format!("{below}bin/sh").as_bytes(), EntryType::Symlink, b"/bin/busybox", b"");
    for number in 0..9 {
        raw(tar, format!("{below}usr/{number}").as_bytes(), EntryType::Regular, b"", b"");
    }
}

fn a_root_may_be_wrapped_in_a_folder() {
    for below in ["", "root.x86_64/", "./rootfs/"] {
        let world = World::new();
        let archive = world.tar(|tar| {
            if below == "root.x86_64/" {
                raw(tar, b"README", EntryType::Regular, b"", b"not of the root");
            }
            small_root(tar, below);
        });
        let unpacked = world.unpack_as('a', &archive, UnpackCaps::default()).unwrap();
        assert_eq!(unpacked.os.as_deref(), Some("quayos"), "{below}");
        let layer = world.layer('a');
        let mut names: Vec<_> = std::fs::read_dir(&layer).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bin", "etc", "usr"], "{below}");
        assert_eq!(std::fs::read_dir(world.folders.state.join("staging")).unwrap().count(), 0, "{below}");
        // The same digest once more is the same layer.
        world.unpack_as('a', &archive, UnpackCaps::default()).unwrap();
        assert_eq!(std::fs::read_dir(world.folders.state.join("staging")).unwrap().count(), 0, "{below}");
    }
}

fn what_is_no_root_file_system_is_refused() {
    let refused = |fill: &dyn Fn(&mut Builder<File>), part: &str| {
        let world = World::new();
        let archive = world.tar(|tar| fill(tar));
        let error = world.unpack_as('a', &archive, UnpackCaps::default()).unwrap_err();
        assert_eq!(error.code, model::ErrorCode::Invalid);
        assert!(
            error.message.contains("no root file system") && error.message.contains(part),
            "{error} does not say `{part}`"
        );
        world.assert_clean();
    };
    refused(
        &|tar| raw(tar, b"bin/sh", EntryType::Regular, b"", b"x"),
        "it has 1 entries, and a root file system has at least 10",
    );
    let photos = |tar: &mut Builder<File>| {
        for number in 0..12 {
            raw(tar, format!("photos/{number}.jpg").as_bytes(), EntryType::Regular, b"", b"x");
        }
    };
    refused(&photos, "at its top are: photos");
    refused(&photos, "no init (sbin/init, usr/sbin/init");
    // Two trees: which one is meant cannot be known.
    let two = |tar: &mut Builder<File>| {
        small_root(tar, "one/");
        small_root(tar, "two/");
    };
    refused(&two, "at its top are: one, two");
    // A link to a root elsewhere is no root.
    let link = |tar: &mut Builder<File>| {
        photos(tar);
        raw(tar, b"door", EntryType::Symlink, b"/", b"");
    };
    refused(&link, "no shell");
}

fn the_last_of_two_entries_with_one_name_wins() {
    let kinds = [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link, EntryType::Fifo];
    for first in kinds {
        for second in kinds {
            let world = World::new();
            let archive = world.tar(|tar| {
                raw(tar, b"there", EntryType::Regular, b"", b"there");
                for kind in [first, second] {
                    let link: &[u8] = if kind == EntryType::Symlink || kind == EntryType::Link {
                        b"there"
                    } else {
                        b""
                    };
                    let content: &[u8] = if kind == EntryType::Regular { b"mine" } else { b"" };
                    raw(tar, b"twice", kind, link, content);
                }
            });
            world.unpack(&archive).unwrap();
            let found = world.layer('a').join("twice").symlink_metadata().unwrap().file_type();
            let is_right = match second {
                EntryType::Directory => found.is_dir(),
                EntryType::Symlink => found.is_symlink(),
                EntryType::Fifo => std::os::unix::fs::FileTypeExt::is_fifo(&found),
                _ => found.is_file(),
            };
            assert!(is_right, "{first:?}, then {second:?}: {found:?}");
            assert_eq!(
                std::fs::read_to_string(world.layer('a').join("there")).unwrap(),
                "there",
                "{first:?}, then {second:?}"
            );
        }
    }
    let world = World::new();
    let archive = world.tar(|tar| {
        raw(tar, b"full/file", EntryType::Regular, b"", b"x");
        raw(tar, b"full", EntryType::Symlink, b"/etc", b"");
    });
    world.assert_refused(&archive, "full");
}

fn long_and_broken_names_are_refused() {
    let (long, component) = (format!("{}x", "a/".repeat(2500)), "b".repeat(300));
    for (path, part) in [
        (long.as_str(), "5001 bytes"),
        (component.as_str(), "255 bytes"),
        ("a\0b", "NUL"),
        ("x/../../canary", "leads out"),
    ] {
        let world = World::new();
        let archive = world.tar(|tar| {
            tar.append_pax_extensions([("path", path.as_bytes())]).unwrap();
            raw(tar, b"innocent", EntryType::Regular, b"", b"evil");
        });
        world.assert_refused(&archive, part);
    }
    // A name that goes on in a header of its own, cut off.
    let world = World::new();
    let archive = world.tar(|tar| raw(tar, b"././@LongLink", EntryType::GNULongName, b"", b"lost\0"));
    assert!(world.unpack(&archive).is_err());
    world.assert_clean();
}

fn a_hard_link_to_a_link_writes_nothing_through_it() {
    let world = World::new();
    let canary = world.folder.path().join("canary");
    let archive = world.tar(|tar| {
        raw(tar, b"link", EntryType::Symlink, text(&canary).as_bytes(), b"");
        raw(tar, b"again", EntryType::Link, b"link", b"");
        raw(tar, b"again", EntryType::Regular, b"", b"evil");
        raw(tar, b"link", EntryType::Regular, b"", b"evil");
        raw(tar, b"zero", EntryType::Char, b"", b"");
    });
    let unpacked = world.unpack(&archive).unwrap();
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "untouched");
    assert_eq!(canary.metadata().unwrap().nlink(), 1);
    assert_eq!(unpacked.left_out, ["device nodes: 1"], "0:0 would be a whiteout");
}

fn files_with_holes_are_as_gnu_tar_reads_them() {
    let world = World::new();
    let root = world.folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let file = File::create(root.join("holes")).unwrap();
    for index in 0..60_u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, b"content", index * 65_536 + 3).unwrap();
    }
    file.set_len(10 << 20).unwrap();
    for (digit, format) in [('1', "gnu"), ('2', "posix")] {
        let archive = world.folder.path().join(format);
        let format = format!("--format={format}");
        run(
            "tar",
            &["--create", "--sparse", &format, "--file", text(&archive), "--directory", text(&root), "."],
        );
        assert!(archive.metadata().unwrap().len() < 1 << 20, "tar left the holes out");
        world.unpack_as(digit, &archive, loose()).unwrap();
        run("diff", &["--recursive", text(&root), text(&world.layer(digit))]);
    }
    // 8 TiB of nothing.
    File::options().write(true).open(root.join("holes")).unwrap().set_len(8 << 40).unwrap();
    let world = World::new();
    for format in ["--format=gnu", "--format=posix"] {
        let archive = world.folder.path().join("huge");
        run(
            "tar",
            &["--create", "--sparse", format, "--file", text(&archive), "--directory", text(&root), "."],
        );
        world.assert_refused(&archive, "is refused");
    }
}

fn extended_headers_mean_what_gnu_tar_means() {
    let world = World::new();
    let archive = world.tar(|tar| {
        raw(tar, b"pax_global_header", EntryType::XGlobalHeader, b"", b"20 comment=abcdefgh\n");
        tar.append_pax_extensions([("mtime", &b"1600000000.25"[..]), ("uid", b"7"), ("path", b"caf\xff")])
            .unwrap();
        raw(tar, b"other", EntryType::Regular, b"", b"x");
        // The size of the extended header counts, not that of the header.
        tar.append_pax_extensions([("size", &b"1024"[..])]).unwrap();
        let mut header = Header::new_gnu();
        header.set_path("sized").unwrap();
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.append(&header, &[b'z'; 1024][..]).unwrap();
        raw(tar, b"folder/", EntryType::Regular, b"", b"");
    });
    world.unpack(&archive).unwrap();
    let theirs = world.folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    run("tar", &["--extract", "--numeric-owner", "--file", text(&archive), "--directory", text(&theirs)]);
    run("diff", &["--recursive", text(&theirs), text(&world.layer('a'))]);
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xff");
    let (ours, theirs) = (world.layer('a').join(name).metadata().unwrap(), theirs.join(name).metadata().unwrap());
    assert_eq!((ours.uid(), ours.mtime(), ours.mtime_nsec()), (7, 1_600_000_000, 250_000_000));
    assert_eq!(
        (ours.uid(), ours.mtime(), ours.mtime_nsec()),
        (theirs.uid(), theirs.mtime(), theirs.mtime_nsec())
    );
    let world = World::new();
    let archive = world.tar(|tar| {
        tar.append_pax_extensions([("SCHILY.xattr.user.x", &b"line\n30 path=../../canary"[..])])
            .unwrap();
        raw(tar, b"confusing", EntryType::Regular, b"", b"x");
    });
    world.assert_refused(&archive, "confusing");
}

fn headers_and_skipped_content_are_bounded() {
    let world = World::new();
    let archive = world.tar(|tar| {
        tar.append_pax_extensions([("comment", &vec![b'c'; 8 << 20][..])]).unwrap();
        raw(tar, b"x", EntryType::Regular, b"", b"");
    });
    world.assert_refused(&archive, "4 MiB");
    let plain = world.tar(|tar| raw(tar, b"dev/sda", EntryType::Block, b"", &vec![0; 300 << 20]));
    let packed = world.folder.path().join("packed");
    std::fs::write(&packed, pack("zstd", &plain)).unwrap();
    world.assert_refused(&packed, "200 times its size");
}

fn every_compressor_stops_at_the_ratio() {
    let world = World::new();
    let plain = world.tar(|tar| raw(tar, b"zeros", EntryType::Regular, b"", &vec![0; 200 << 20]));
    for program in ["gzip", "xz", "bzip2"] {
        let packed = world.folder.path().join("packed");
        std::fs::write(&packed, pack(program, &plain)).unwrap();
        world.assert_refused(&packed, "200 times its size");
    }
}

fn cuts_flips_and_junk_are_found_by_every_compressor() {
    let world = World::new();
    let root = sample(&world);
    let plain = world.folder.path().join("plain.tar");
    run("tar", &["--create", "--file", text(&plain), "--directory", text(&root), "."]);
    let path = world.folder.path().join("damaged");
    for program in ["gzip", "xz", "zstd", "bzip2"] {
        let whole = pack(program, &plain);
        for share in (5..100).step_by(5) {
            std::fs::write(&path, &whole[..whole.len() * share / 100]).unwrap();
            assert!(world.unpack(&path).is_err(), "{share} % of {program}");
            world.assert_clean();
        }
        // From 32 on: in front of it gzip keeps a name and a time that nobody checks.
        for step in 0..8 {
            let mut flipped = whole.clone();
            let at = 32 + (whole.len() - 32) * step / 8;
            flipped[at] ^= 1 << step;
            std::fs::write(&path, &flipped).unwrap();
            if still_reads(program, &path, &plain) {
                // Such as another distance back into a row of zeros.
                continue;
            }
            assert!(world.unpack(&path).is_err(), "{program} with byte {at} changed");
            world.assert_clean();
        }
        std::fs::write(&path, [&whole[..], b"junk behind the end"].concat()).unwrap();
        assert!(world.unpack(&path).is_err(), "{program} and junk");
        world.assert_clean();
    }
}

/// Whether the compressor's own program reads the same as before from a damaged file.
fn still_reads(program: &str, damaged: &Path, plain: &Path) -> bool {
    let output = Command::new(program)
        .args(["--decompress", "--stdout"])
        .stdin(File::open(damaged).unwrap())
        .output();
    output.is_ok_and(|output| output.status.success() && output.stdout == std::fs::read(plain).unwrap())
}

fn an_archive_of_several_members_is_read_whole() {
    let world = World::new();
    let root = sample(&world);
    let plain = world.folder.path().join("plain.tar");
    run("tar", &["--create", "--file", text(&plain), "--directory", text(&root), "."]);
    let bytes = std::fs::read(&plain).unwrap();
    for (digit, program) in [('1', "gzip"), ('2', "xz"), ('3', "zstd"), ('4', "bzip2")] {
        let (half, packed) = (world.folder.path().join("half"), world.folder.path().join("packed"));
        let mut members = Vec::new();
        for part in bytes.chunks(bytes.len() / 3) {
            std::fs::write(&half, part).unwrap();
            members.extend(pack(program, &half));
        }
        std::fs::write(&packed, members).unwrap();
        world.unpack_as(digit, &packed, loose()).unwrap();
        assert_sample(&world.layer(digit), true);
    }
}

fn time_runs_out() {
    let world = World::new();
    let archive = world.tar(|tar| raw(tar, b"x", EntryType::Regular, b"", b"x"));
    let caps = UnpackCaps { seconds: 0, ..loose() };
    let error = world.unpack_as('b', &archive, caps).unwrap_err();
    assert!(error.message.contains("within 0 s"), "{error}");
    world.assert_clean();
}

fn a_window_of_gigabytes_is_refused() {
    let world = World::new();
    let path = world.folder.path().join("window");
    // A frame header without content size; the window descriptor says 2 GiB (RFC 8878, 3.1.1.1.2); then an empty block.
    std::fs::write(&path, [0x28, 0xB5, 0x2F, 0xFD, 0x00, 21 << 3, 0x01, 0x00, 0x00]).unwrap();
    world.assert_refused(&path, "memory");
}

fn devices_of_a_squashfs_image_are_left_out() {
    let world = World::new();
    let root = sample(&world);
    let image = world.folder.path().join("image");
    let pseudo = ["-p", "null c 666 0 0 1 3", "-p", "disk b 660 0 6 8 0", "-p", "whiteout c 666 0 0 0 0"];
    let arguments = [&[text(&root), text(&image), "-quiet", "-no-progress", "-noappend", "-nopad"][..], &pseudo[..]].concat();
    run("mksquashfs", &arguments);
    let unpacked = world.unpack(&image).unwrap();
    assert_eq!(unpacked.left_out, ["device nodes: 3"]);
    assert!(!world.layer('a').join("null").exists());
    let world = World::new();
    let whole = std::fs::read(&image).unwrap();
    let cut = world.folder.path().join("cut");
    for share in [5, 50, 95] {
        std::fs::write(&cut, &whole[..whole.len() * share / 100]).unwrap();
        world.assert_refused(&cut, "cut");
    }
}

/// Kind, rights, owner, size, links, time and target of everything but devices and the sizes of folders.
fn listing(root: &Path, format: &str) -> Vec<String> {
    let output = Command::new("find")
        .current_dir(root)
        .args([".", "-not", "-type", "b", "-not", "-type", "c", "(", "-type", "d", "-printf"])
        .args([&format.replace("%s", "-").replace("%n", "-"), "-o", "-printf", format, ")"])
        .output()
        .unwrap();
    let mut lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert!(lines.len() > 1000, "{root:?} holds {} entries", lines.len());
    lines
}

fn assert_same(ours: &Path, theirs: &Path, format: &str) {
    let (ours_found, theirs_found) = (listing(ours, format), listing(theirs, format));
    let different: Vec<_> = ours_found.iter().filter(|line| theirs_found.binary_search(line).is_err()).take(5).collect();
    assert!(different.is_empty() && ours_found.len() == theirs_found.len(), "{different:#?}");
    let status = Command::new("diff")
        .args(["--recursive", "--no-dereference", "--brief", "--exclude=dev", text(ours), text(theirs)])
        .status();
    assert!(status.unwrap().success());
}

fn real_images_are_as_other_tools_unpack_them() {
    let images = PathBuf::from(std::env::var_os("BERTH_TEST_IMAGES").unwrap()).join("images/debian/bookworm/amd64/default");
    let newest = std::fs::read_dir(images).unwrap().next().unwrap().unwrap().path();
    let world = World::new();
    let theirs = world.folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let archive = newest.join("rootfs.tar.xz");
    run(
        "tar",
        &[
            "--extract",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--file",
            text(&archive),
            "--directory",
            text(&theirs),
        ],
    );
    let unpacked = world.unpack_as('1', &archive, loose()).unwrap();
    assert_eq!((unpacked.os.as_deref(), unpacked.release.as_deref()), (Some("debian"), Some("12")));
    assert_same(&world.layer('1'), &theirs, "%y %m %U %G %s %n %T@ %l %p\n");
    let capabilities = |root: &Path| {
        let output = Command::new("getcap").current_dir(root).args(["-r", "."]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(capabilities(&world.layer('1')), capabilities(&theirs));
    // Squashfs: without hard links (squashfs.rs).
    world.unpack_as('2', &newest.join("rootfs.squashfs"), loose()).unwrap();
    assert_same(&world.layer('2'), &theirs, "%y %m %U %G %s %l %p\n");
}
