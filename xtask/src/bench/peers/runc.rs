//! runc with a bundle of its own: user namespace and limits as Berth's containers have them, but no network device, which
//! runc does not make.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::json;

use super::super::{Cost, Subject, Verb};
use super::{busybox_root, list_ms, shift, silent, verb};
use crate::shell::{command, run, which};

const NAME: &str = "berth-bench";

/// Makes the bundle.
pub fn subject(folder: &Path) -> anyhow::Result<Subject> {
    which("runc").context("runc is not installed")?;
    let bundle = folder.join("runc");
    busybox_root(&bundle.join("rootfs"))?;
    shift(&bundle.join("rootfs"))?;
    run(command("runc", ["spec"]).current_dir(&bundle))?;
    let file = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    spec["process"]["args"] = json!(["/sbin/init"]);
    spec["process"]["terminal"] = false.into();
    spec["root"]["readonly"] = false.into();
    let ids = json!([{"containerID": 0, "hostID": 1_000_000, "size": 65536}]);
    spec["linux"]["uidMappings"] = ids.clone();
    spec["linux"]["gidMappings"] = ids;
    spec["linux"]["namespaces"]
        .as_array_mut()
        .context("runc's specification has namespaces")?
        .push(json!({"type": "user"}));
    spec["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
    spec["linux"]["resources"]["pids"] = json!({"limit": 64});
    std::fs::write(&file, serde_json::to_vec(&spec)?)?;
    let (start, many) = (bundle.clone(), bundle);
    let step = |what: Option<&'static str>, arguments: &'static [&'static str]| -> Verb { verb(what, move || command("runc", arguments)) };
    Ok(Subject {
        who: "runc",
        debian: Vec::new(),
        busybox: vec![
            Box::new(move |stopwatch| {
                run(silent(&mut detached(&start, NAME)))?;
                stopwatch.mark("start until the command returns, busybox");
                stopwatch.mark_init("start to init's exec, busybox")
            }),
            step(Some("exec of `true`"), &["exec", NAME, "true"]),
            step(Some("kill, busybox"), &["delete", "--force", NAME]),
        ],
        many: Some(Box::new(move |count| containers(&many, count))),
        end: Box::new(|| run(silent(&mut command("runc", ["delete", "--force", NAME])))),
    })
}

fn detached(bundle: &Path, name: &str) -> Command {
    let mut call = command("runc", ["run", "--detach", name]);
    call.current_dir(bundle);
    call
}

fn containers(bundle: &Path, count: u32) -> anyhow::Result<Vec<Cost>> {
    let names: Vec<String> = (0..count).map(|n| format!("berth-bench-{n}")).collect();
    let made = names
        .iter()
        .try_for_each(|name| run(silent(&mut detached(bundle, name))))
        .and_then(|()| Ok(vec![list_ms(|| run(silent(&mut command("runc", ["list"]))))?]));
    for name in &names {
        run(silent(&mut command("runc", ["delete", "--force", name])))?;
    }
    made
}
