//! How fast a container's link may be, each direction apart: token buckets (tc-tbf(8)) on the host's side, where the guest
//! cannot take them off. What goes in is shaped as the host end sends it. What comes out is led over an intermediate
//! device first (ifb), because only what a link sends can wait in a queue.

use std::io;

use super::link::{self, Message, Socket, attribute};
use super::veth::Nic;
use crate::error::{Error, Result};

// linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h
const NEWQDISC: u16 = 36;
const NEWFILTER: u16 = 44;
const ROOT: u32 = 0xFFFF_FFFF;
const INGRESS: u32 = 0xFFFF_FFF1;
const INGRESS_HANDLE: u32 = 0xFFFF_0000;
const KIND: u16 = 1;
const OPTIONS: u16 = 2 | link::NESTED;
const TBF_PARAMETERS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
const U32_SELECTOR: u16 = 5;
const U32_ACTION: u16 = 7 | link::NESTED;
const ACTION_KIND: u16 = 1;
const ACTION_OPTIONS: u16 = 2 | link::NESTED;
const MIRRED_PARAMETERS: u16 = 2;
const STOLEN: u32 = 4;
const REDIRECT: u32 = 1;
/// Priority 1, every protocol (`ETH_P_ALL`, in network order).
const ALL_PROTOCOLS: u32 = 1 << 16 | 0x0300;
/// A bucket that holds less than the largest packet lets none of that size through (64 KiB and its header).
const LEAST_BURST: u64 = 128 << 10;

/// Limits both directions as far as the NIC asks for it; `host` is the index of its host end.
///
/// # Errors
/// `Unsupported` where the kernel has no such queue or device.
pub fn limit(socket: &Socket, nic: &Nic, host: u32) -> Result<()> {
    if let Some(bits) = nic.rate_in {
        bucket(socket, host, bits).map_err(|error| refused(&format!("RTM_NEWQDISC({}, tbf, {bits} bit/s)", nic.host_name), error))?;
    }
    if let Some(bits) = nic.rate_out {
        let name = intermediate(&nic.host_name);
        out(socket, &name, host, bits).map_err(|error| refused(&format!("RTM_NEWQDISC({name}, tbf, {bits} bit/s)"), error))?;
    }
    Ok(())
}

fn refused(call: &str, error: io::Error) -> Error {
    let step = "limit the container's link";
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => Error::unsupported(step, format!("{call} = {error}"))
            .hint("the kernel needs sch_tbf, sch_ingress, cls_u32, act_mirred and ifb; or leave rate-in and rate-out out"),
        _ => Error::io(step, call, error),
    }
}

/// The intermediate device of a host end: its name follows from it, so that it is found again after a crash.
#[must_use]
pub fn intermediate(host_name: &str) -> String {
    let mut name = format!("i{host_name}");
    // At most 15 bytes; names of links are ASCII.
    name.truncate(15);
    name
}

fn out(socket: &Socket, name: &str, host: u32, bits: u64) -> io::Result<()> {
    let info = attribute(link::IFLA_INFO_KIND, b"ifb");
    let device = Message::new(link::NEWLINK, link::CREATE | link::EXCLUSIVE).link(0, None);
    socket.ask(device.name(link::IFLA_IFNAME, name).with(link::IFLA_LINKINFO | link::NESTED, &info))?;
    let device = socket.index(name)?;
    bucket(socket, device, bits)?;
    socket.ask(Message::new(link::NEWLINK, 0).link(device, Some(true)))?;
    let queue = Message::new(NEWQDISC, link::CREATE | link::EXCLUSIVE).header(&header(host, INGRESS_HANDLE, INGRESS, 0));
    socket.ask(queue.name(KIND, "ingress"))?;
    let filter = Message::new(NEWFILTER, link::CREATE | link::EXCLUSIVE).header(&header(host, 0, INGRESS_HANDLE, ALL_PROTOCOLS));
    socket.ask(filter.name(KIND, "u32").with(OPTIONS, &everything_to(device)))
}

/// `struct tcmsg`.
fn header(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for number in [index, handle, parent, info] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes
}

/// Options of the u32 classifier: a key that every packet fits, with the action to send it out by another device.
fn everything_to(device: u32) -> Vec<u8> {
    // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
    let mirred: Vec<u8> = [0, 0, STOLEN, 0, 0, REDIRECT, device].into_iter().flat_map(u32::to_ne_bytes).collect();
    let action = [
        attribute(ACTION_KIND, b"mirred\0"),
        attribute(ACTION_OPTIONS, &attribute(MIRRED_PARAMETERS, &mirred)),
    ]
    .concat();
    // struct tc_u32_sel: terminal, one key; struct tc_u32_key: mask 0, value 0.
    let mut selector = vec![1, 0, 1, 0];
    selector.resize(32, 0);
    [attribute(U32_ACTION, &attribute(1 | link::NESTED, &action)), attribute(U32_SELECTOR, &selector)].concat()
}

/// A token bucket as the link's only queue.
fn bucket(socket: &Socket, index: u32, bits: u64) -> io::Result<()> {
    let message = Message::new(NEWQDISC, link::CREATE | link::REPLACE).header(&header(index, 0, ROOT, 0));
    socket.ask(message.name(KIND, "tbf").with(OPTIONS, &bucket_options(bits)))
}

fn bucket_options(bits: u64) -> Vec<u8> {
    let bytes_per_second = (bits / 8).max(1);
    // What fits into 10 ms may come at once, and 50 ms more may wait: enough for TCP to keep the rate.
    let burst = (bytes_per_second / 100).max(LEAST_BURST);
    let limit = burst + (bytes_per_second / 20).max(LEAST_BURST);
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    // struct tc_tbf_qopt: two of struct tc_ratespec, then limit, buffer, mtu. Of the first: Ethernet, and the rate.
    let mut parameters = vec![0_u8, 1, 0, 0, 0, 0, 0, 0];
    parameters.extend(narrow(bytes_per_second).to_ne_bytes());
    parameters.resize(24, 0);
    for number in [narrow(limit), 0, 0] {
        parameters.extend(number.to_ne_bytes());
    }
    [
        attribute(TBF_PARAMETERS, &parameters),
        attribute(TBF_RATE64, &bytes_per_second.to_ne_bytes()),
        attribute(TBF_BURST, &narrow(burst).to_ne_bytes()),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_both_directions_and_gives_them_back() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a network namespace takes root");
            return;
        }
        std::thread::spawn(|| {
            crate::sys::unshare(libc::CLONE_NEWNET).unwrap();
            super::super::bridge::ensure("bt0123456789", &[]).unwrap();
            let socket = Socket::open().unwrap();
            let host = socket.index("bt0123456789").unwrap();
            let nic = Nic {
                host_name: "bt0123456789".into(),
                rate_in: Some(20_000_000),
                // More than 32 bits of bytes per second.
                rate_out: Some(80_000_000_000),
                ..Nic::default()
            };
            limit(&socket, &nic, host).unwrap();
            let shown = std::process::Command::new("tc").args(["qdisc", "show"]).output().unwrap();
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains("dev bt0123456789 root") && shown.contains("rate 20Mbit"), "{shown}");
            assert!(shown.contains("dev ibt0123456789 root") && shown.contains("rate 80Gbit"), "{shown}");
            super::super::veth::remove("bt0123456789").unwrap();
            super::super::veth::remove("bt0123456789").unwrap();
            assert!(socket.index("ibt0123456789").is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_largest_packet_fits_into_the_bucket_of_a_slow_link() {
        let options = bucket_options(8000);
        let burst = link::attributes(&options).find(|(kind, _)| *kind == TBF_BURST).unwrap().1;
        assert_eq!(u32::from_ne_bytes(burst.try_into().unwrap()), 128 << 10);
        assert!(intermediate("bt1234567890123").len() <= 15);
    }
}
