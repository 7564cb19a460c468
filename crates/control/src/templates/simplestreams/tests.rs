//! Indexes as servers write them, and as they should not.

use super::*;

const HOST: HostFacts<'static> = HostFacts {
    arch: "amd64",
    cgroup: "hybrid",
};

/// The example of the format's own description; its hashes are real.
const LIST: &str = r#"{"content_id":"images","datatype":"image-downloads","format":"products:1.0","products":{
 "quayos:2:amd64:default":{"arch":"amd64","os":"Quayos","release":"2","release_title":"2","variant":"default",
  "aliases":"quayos/2/default,quayos/2","requirements":{},"versions":{
  "20261031_06:30":{"items":{}}, "junk":{"items":{}},
  "20261101_06:30":{"items":{
   "incus.tar.xz":{"ftype":"incus.tar.xz","size":11,"path":"images/q/2/m.tar.xz",
    "sha256":"6c9f19b55c529fdf7d803134ebd69c1f8617cd7a861ca3f49a4a87bc810937ff",
    "combined_squashfs_sha256":"7ee98587aa8227f4239f1d342da501b6c2bc24b59b8337fb7cc499d678f60b7d",
    "combined_rootxz_sha256":"ab68b30d18a9e8966b62c994e1af26afe18057a81319fdb47d3ee6490189d2fc"},
   "root.squashfs":{"ftype":"squashfs","size":18,"path":"images/q/2/r.squashfs",
    "sha256":"6dcc9eae0a5f3bef36487da23b7d5776e4828c21b0e6b8fcb100c1e191b87260"},
   "root.tar.xz":{"ftype":"root.tar.xz","size":15,"path":"images/q/2/r.tar.xz",
    "sha256":"fab4c46ad59761f4fa6ddf4336e56227e6f6ddb1bc0f7eb2fb65f715d1cdd761"}}}}},
 "quayos:2:amd64:desktop":{"arch":"amd64","os":"Quayos","release":"2","variant":"desktop","aliases":"","versions":{
  "20261101_06:30":{"items":{"disk.qcow2":{"ftype":"disk-kvm.img","size":9,"path":"images/q/2/d.qcow2","sha256":"00"}}}}},
 "quayos:2:vax:default":{"arch":"vax","versions":{}}, "broken":7}}"#;

#[test]
fn the_example_gives_one_template_and_one_virtual_machine() {
    let mut dropped = Vec::new();
    let offers = offers(LIST.as_bytes(), HOST, &mut dropped).unwrap();
    assert_eq!(offers.len(), 2);
    assert_eq!(dropped.len(), 2, "{dropped:?}");
    let (container, machine) = (&offers[0], &offers[1]);
    assert_eq!(container.unusable, None);
    assert_eq!(container.alias("amd64"), "quayos/2");
    assert_eq!(container.serial, "20261101_06:30");
    assert_eq!(container.size(), Some(26));
    let fingerprints: Vec<&str> = container.fingerprints().map(|digest| &digest.as_str()[..8]).collect();
    assert_eq!(fingerprints, ["ab68b30d", "7ee98587"]);
    assert!(machine.unusable.as_deref().unwrap().contains("virtual machine"));
}

#[test]
fn an_offer_is_found_by_each_alias_and_with_the_architecture() {
    let catalogue = super::super::offer::Catalogue {
        offers: offers(LIST.as_bytes(), HOST, &mut Vec::new()).unwrap(),
        ..super::super::offer::Catalogue::default()
    };
    for good in ["quayos/2", "quayos/2/default", "quayos/2/amd64", "quayos:2:amd64:default"] {
        let reference = format!("images:{good}").parse().unwrap();
        assert!(catalogue.find(&reference, "amd64").is_some(), "{good}");
    }
    assert!(catalogue.find(&"images:quayos/3".parse().unwrap(), "amd64").is_none());
    assert!(catalogue.find(&"images:quayos/2".parse().unwrap(), "arm64").is_none());
}

#[test]
fn another_architecture_is_shown_with_its_reason() {
    let arm = HostFacts { arch: "arm64", cgroup: "v2" };
    let offers = offers(LIST.as_bytes(), arm, &mut Vec::new()).unwrap();
    assert!(offers[0].unusable.as_deref().unwrap().contains("amd64"));
    assert_eq!(offers[0].alias("arm64"), "quayos/2/amd64");
}

#[test]
fn an_index_names_only_paths_below_the_server() {
    let index = |path: &str| format!(r#"{{"index":{{"images":{{"datatype":"image-downloads","path":"{path}","products":["a"]}}}}}}"#);
    assert_eq!(product_lists(index("streams/v1/images.json").as_bytes()).unwrap(), ["streams/v1/images.json"]);
    for bad in ["http://elsewhere/x", "../x", "/etc/passwd", "a/../../b", ""] {
        assert!(product_lists(index(bad).as_bytes()).is_err(), "{bad}");
    }
    assert!(product_lists(b"[]").is_err());
}

#[test]
fn serials_compare_by_their_numbers() {
    assert!(natural("20260901.10") > natural("20260901.2"));
    assert_eq!(date_of("20261101_06:30").unwrap().ms, 1_793_514_600_000);
    assert_eq!(date_of("2026"), None);
}
