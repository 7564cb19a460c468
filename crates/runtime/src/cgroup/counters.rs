//! What a container's groups count, read through descriptors that stay open: one pread a file and tick, no path is walked.

use std::fs::File;
use std::os::fd::AsFd;

use model::metrics::{Counters, memory_used};

use super::group::Group;
use super::layout::Mode;
use super::{file, parse};

/// Open files of one container.
#[derive(Debug)]
pub struct Reader {
    mode: Mode,
    cpu: Option<File>,
    /// Without a unified hierarchy: `cpuacct.usage` and `cpuacct.stat`.
    cpuacct: [Option<File>; 2],
    throttling: Option<File>,
    memory: Option<File>,
    memory_stat: Option<File>,
    memory_limit: Option<File>,
    memory_swap: Option<File>,
    oom: Option<File>,
    kernel_memory: Option<File>,
    pids: Option<File>,
    pids_limit: Option<File>,
    io: Option<File>,
    io_ops: Option<File>,
    pressure: [Option<File>; 3],
    disk: Option<(u32, u32)>,
    text: String,
}

impl Reader {
    /// Opens what this host counts.
    #[must_use]
    pub fn open(group: &Group, disk: Option<(u32, u32)>) -> Self {
        let unified = |name: &str| group.unified.as_ref().and_then(|unified| file::open(unified.as_fd(), name).ok());
        let v1 = |controller: &str, name: &str| group.v1(controller).and_then(|group| file::open(group, name).ok());
        let is_v2 = group.mode == Mode::V2;
        let either = |v2: &str, controller: &str, name: &str| if is_v2 { unified(v2) } else { v1(controller, name) };
        Self {
            mode: group.mode,
            cpu: unified("cpu.stat"),
            cpuacct: if group.unified.is_some() {
                [None, None]
            } else {
                ["cpuacct.usage", "cpuacct.stat"].map(|name| v1("cpuacct", name))
            },
            throttling: if is_v2 { None } else { v1("cpu", "cpu.stat") },
            memory: either("memory.current", "memory", "memory.usage_in_bytes"),
            memory_stat: either("memory.stat", "memory", "memory.stat"),
            memory_limit: either("memory.max", "memory", "memory.limit_in_bytes"),
            memory_swap: if is_v2 { unified("memory.swap.current") } else { None },
            oom: either("memory.events", "memory", "memory.oom_control"),
            kernel_memory: if is_v2 { None } else { v1("memory", "memory.kmem.usage_in_bytes") },
            pids: either("pids.current", "pids", "pids.current"),
            pids_limit: either("pids.max", "pids", "pids.max"),
            io: either("io.stat", "blkio", "blkio.throttle.io_service_bytes_recursive"),
            io_ops: if is_v2 { None } else { v1("blkio", "blkio.throttle.io_serviced_recursive") },
            pressure: ["cpu.pressure", "memory.pressure", "io.pressure"].map(unified),
            disk,
            text: String::with_capacity(8192),
        }
    }

    /// Reads everything; what cannot be read is `None`.
    pub fn read(&mut self) -> Counters {
        let mut counters = Counters::default();
        let mut text = std::mem::take(&mut self.text);
        self.processor(&mut text, &mut counters);
        self.memory(&mut text, &mut counters);
        let mut number = |from: &Option<File>| read_into(from, &mut text).and_then(|text| parse::bytes_limit(text));
        counters.pids.current = number(&self.pids);
        counters.pids.limit = number(&self.pids_limit);
        self.io(&mut text, &mut counters);
        let [cpu, memory, io] = &self.pressure;
        let mut pressure = |from: &Option<File>| read_into(from, &mut text).map(|text| parse::pressure(text)).unwrap_or_default();
        counters.pressure.cpu = pressure(cpu);
        counters.pressure.memory = pressure(memory);
        counters.pressure.io = pressure(io);
        self.text = text;
        counters
    }

    fn processor(&self, text: &mut String, counters: &mut Counters) {
        if let Some(text) = read_into(&self.cpu, text) {
            counters.cpu = parse::cpu_stat(text);
        }
        let [usage, stat] = &self.cpuacct;
        if let Some(usage) = read_into(usage, text).cloned()
            && let Some(stat) = read_into(stat, text)
        {
            parse::cpuacct(&usage, stat, &mut counters.cpu);
        }
        if let Some(text) = read_into(&self.throttling, text) {
            parse::cpu_stat_v1(text, &mut counters.cpu);
        }
    }

    fn memory(&self, text: &mut String, counters: &mut Counters) {
        let is_v2 = self.mode == Mode::V2;
        let stat = read_into(&self.memory_stat, text)
            .map(|text| if is_v2 { parse::memory_stat(text) } else { parse::memory_stat_v1(text) })
            .unwrap_or_default();
        let swap_v1 = if is_v2 { None } else { parse::keyed(text, "total_swap") };
        let mut number = |from: &Option<File>| read_into(from, text).and_then(|text| parse::bytes_limit(text));
        let memory = &mut counters.memory;
        memory.current_bytes = number(&self.memory);
        memory.limit_bytes = number(&self.memory_limit);
        memory.swap_bytes = if is_v2 { number(&self.memory_swap) } else { swap_v1 };
        memory.kernel_bytes = if is_v2 { stat.kernel } else { number(&self.kernel_memory) };
        (memory.anon_bytes, memory.file_bytes, memory.shmem_bytes) = (stat.anon, stat.file, stat.shmem);
        memory.used_bytes = memory
            .current_bytes
            .zip(stat.file)
            .map(|(current, file)| memory_used(current, file, stat.shmem.unwrap_or(0), stat.slab_reclaimable.unwrap_or(0)));
        memory.oom_kills = read_into(&self.oom, text).and_then(|text| parse::keyed(text, "oom_kill"));
    }

    fn io(&self, text: &mut String, counters: &mut Counters) {
        if self.mode == Mode::V2 {
            let device = self.disk.map(|(major, minor)| format!("{major}:{minor}"));
            if let Some(text) = read_into(&self.io, text) {
                counters.io = parse::io_stat(text, device.as_deref());
            }
            return;
        }
        if let Some(text) = read_into(&self.io, text) {
            (counters.io.read_bytes, counters.io.write_bytes) = parse::blkio(text);
        }
        if let Some(text) = read_into(&self.io_ops, text) {
            (counters.io.read_ops, counters.io.write_ops) = parse::blkio(text);
        }
    }
}

fn read_into<'a>(from: &Option<File>, text: &'a mut String) -> Option<&'a String> {
    file::reread(from.as_ref()?, text).ok()?;
    Some(text)
}
