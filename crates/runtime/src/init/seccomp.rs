//! The system calls that a container is refused, from one readable list, as classic BPF for amd64 and i386. x32 is
//! refused whole; other architectures get "not implemented", never a kill, which would end innocent 32-bit programs.
//!
//! A deny list, because an allow list makes libc's fallbacks meet EPERM where they expect ENOSYS.

use libc::{EAFNOSUPPORT, ENOSYS, EPERM, sock_filter};

/// When a listed call is refused.
#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    /// The argument has one of these bits.
    Bits(u32, u32),
    /// The argument is this.
    Is(u32, u32),
    /// Two arguments are these.
    Both((u32, u32), (u32, u32)),
}

struct Rule {
    name: &'static str,
    amd64: Option<u32>,
    i386: Option<u32>,
    when: When,
    errno: i32,
}

const AF_NETLINK: u32 = 16;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const NETLINK_AUDIT: u32 = 9;
const MNT_FORCE: u32 = 1;

const RULES: &[Rule] = &[
    rule("kexec_load", Some(246), Some(283), When::Always, EPERM),
    rule("kexec_file_load", Some(320), None, When::Always, EPERM),
    rule("init_module", Some(175), Some(128), When::Always, EPERM),
    rule("finit_module", Some(313), Some(350), When::Always, EPERM),
    rule("delete_module", Some(176), Some(129), When::Always, EPERM),
    rule("open_by_handle_at", Some(304), Some(342), When::Always, EPERM),
    rule("umount2", Some(166), Some(52), When::Bits(1, MNT_FORCE), EPERM),
    // Not namespaced: a channel to the hypervisor, an interface with a history of page-cache corruption, the host's audit log.
    rule("socket", Some(41), Some(359), When::Is(0, AF_VSOCK), EAFNOSUPPORT),
    rule("socket", Some(41), Some(359), When::Is(0, AF_ALG), EAFNOSUPPORT),
    rule("socket", Some(41), Some(359), When::Both((0, AF_NETLINK), (2, NETLINK_AUDIT)), EAFNOSUPPORT),
    // Its arguments lie behind a pointer that a filter cannot follow; libc has used the direct calls since Linux 4.3.
    rule("socketcall", None, Some(102), When::Always, ENOSYS),
];

const fn rule(name: &'static str, amd64: Option<u32>, i386: Option<u32>, when: When, errno: i32) -> Rule {
    Rule {
        name,
        amd64,
        i386,
        when,
        errno,
    }
}

// linux/audit.h, linux/seccomp.h, linux/filter.h
const ARCH_X86_64: u32 = 0xC000_003E;
const ARCH_I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const RET_ALLOW: u32 = 0x7FFF_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

fn instruction(code: u16, value: u32, on_true: u8, on_false: u8) -> sock_filter {
    sock_filter {
        code,
        jt: on_true,
        jf: on_false,
        k: value,
    }
}

fn refuse(errno: i32) -> sock_filter {
    instruction(RETURN, RET_ERRNO | errno.unsigned_abs(), 0, 0)
}

fn load_argument(index: u32) -> sock_filter {
    // The low half: x86 is little-endian, and what is compared here are ints.
    instruction(LOAD, 16 + 8 * index, 0, 0)
}

/// The filter for this program's lifetime and that of everything it starts.
#[must_use]
pub fn program() -> Vec<sock_filter> {
    let amd64 = section(|rule| rule.amd64, true);
    let i386 = section(|rule| rule.i386, false);
    let skip = u8::try_from(amd64.len()).unwrap_or(u8::MAX);
    let mut program = vec![instruction(LOAD, OFFSET_ARCH, 0, 0), instruction(JUMP_EQUAL, ARCH_X86_64, 0, skip)];
    program.extend(amd64);
    program.push(instruction(JUMP_EQUAL, ARCH_I386, 1, 0));
    program.push(refuse(ENOSYS));
    program.extend(i386);
    program
}

fn section(number: impl Fn(&Rule) -> Option<u32>, refuse_x32: bool) -> Vec<sock_filter> {
    let mut program = vec![instruction(LOAD, OFFSET_NUMBER, 0, 0)];
    if refuse_x32 {
        program.extend([instruction(JUMP_AT_LEAST, X32_BIT, 0, 1), refuse(ENOSYS)]);
    }
    for rule in RULES {
        if let Some(number) = number(rule) {
            let body = body(rule);
            program.push(instruction(JUMP_EQUAL, number, 0, u8::try_from(body.len()).unwrap_or(u8::MAX)));
            program.extend(body);
        }
    }
    program.push(instruction(RETURN, RET_ALLOW, 0, 0));
    program
}

/// What follows a match of the number; it ends with the number loaded again, so that the next rule can look at it.
fn body(rule: &Rule) -> Vec<sock_filter> {
    let reload = instruction(LOAD, OFFSET_NUMBER, 0, 0);
    match rule.when {
        When::Always => vec![refuse(rule.errno)],
        When::Bits(argument, bits) => vec![load_argument(argument), instruction(JUMP_SET, bits, 0, 1), refuse(rule.errno), reload],
        When::Is(argument, value) => vec![load_argument(argument), instruction(JUMP_EQUAL, value, 0, 1), refuse(rule.errno), reload],
        When::Both((first, one), (second, two)) => vec![
            load_argument(first),
            instruction(JUMP_EQUAL, one, 0, 3),
            load_argument(second),
            instruction(JUMP_EQUAL, two, 0, 1),
            refuse(rule.errno),
            reload,
        ],
    }
}

/// Names of the refused calls, for `berth check` and tests.
pub fn refused() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn judge(arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let load = |offset: u32| match offset {
            OFFSET_NUMBER => number,
            OFFSET_ARCH => arch,
            _ => u32::try_from(arguments[usize::try_from((offset - 16) / 8).unwrap()] & 0xFFFF_FFFF).unwrap(),
        };
        let program = program();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            let jump = |is: bool| at + 1 + usize::from(if is { instruction.jt } else { instruction.jf });
            at = match instruction.code {
                LOAD => {
                    accumulator = load(instruction.k);
                    at + 1
                }
                JUMP_EQUAL => jump(accumulator == instruction.k),
                JUMP_AT_LEAST => jump(accumulator >= instruction.k),
                JUMP_SET => jump(accumulator & instruction.k != 0),
                RETURN => return instruction.k,
                other => panic!("unknown instruction {other}"),
            };
        }
    }

    fn errno(errno: i32) -> u32 {
        RET_ERRNO | errno.unsigned_abs()
    }

    #[test]
    fn every_listed_call_is_refused_on_both_architectures() {
        for rule in RULES {
            let mut arguments = [0; 6];
            match rule.when {
                When::Always => {}
                When::Bits(index, value) | When::Is(index, value) => arguments[index as usize] = u64::from(value),
                When::Both((first, one), (second, two)) => {
                    arguments[first as usize] = u64::from(one);
                    arguments[second as usize] = u64::from(two);
                }
            }
            for (arch, number) in [(ARCH_X86_64, rule.amd64), (ARCH_I386, rule.i386)] {
                if let Some(number) = number {
                    assert_eq!(judge(arch, number, arguments), errno(rule.errno), "{} on {arch:x}", rule.name);
                }
            }
        }
    }

    /// Name, number on amd64 and on i386 (asm/unistd_64.h, asm/unistd_32.h), arguments, and the refusal.
    type Answer = (&'static str, Option<u32>, Option<u32>, [u64; 3], Option<i32>);

    /// What the filter is held to, written down once more.
    const TABLE: &[Answer] = &[
        ("kexec_load", Some(246), Some(283), [0; 3], Some(EPERM)),
        ("kexec_file_load", Some(320), None, [0; 3], Some(EPERM)),
        ("init_module", Some(175), Some(128), [0; 3], Some(EPERM)),
        ("finit_module", Some(313), Some(350), [0; 3], Some(EPERM)),
        ("delete_module", Some(176), Some(129), [0; 3], Some(EPERM)),
        ("open_by_handle_at", Some(304), Some(342), [0; 3], Some(EPERM)),
        ("umount2 by force", Some(166), Some(52), [0, 1, 0], Some(EPERM)),
        ("umount2 by force and lazily", Some(166), Some(52), [0, 3, 0], Some(EPERM)),
        ("umount2", Some(166), Some(52), [0, 2, 0], None),
        ("AF_VSOCK", Some(41), Some(359), [40, 1, 0], Some(EAFNOSUPPORT)),
        (
            "AF_VSOCK with a high half",
            Some(41),
            Some(359),
            [0xFFFF_FFFF_0000_0028, 1, 0],
            Some(EAFNOSUPPORT),
        ),
        ("AF_ALG", Some(41), Some(359), [38, 5, 0], Some(EAFNOSUPPORT)),
        ("NETLINK_AUDIT", Some(41), Some(359), [16, 3, 9], Some(EAFNOSUPPORT)),
        ("NETLINK_ROUTE", Some(41), Some(359), [16, 3, 0], None),
        ("AF_INET by ICMP's number", Some(41), Some(359), [2, 3, 9], None),
        ("AF_UNIX", Some(41), Some(359), [1, 1, 0], None),
        ("socketcall", None, Some(102), [0; 3], Some(ENOSYS)),
        // Refused by the kernel itself where they are the host's, and needed by guests.
        ("mount", Some(165), Some(21), [0; 3], None),
        ("pivot_root", Some(155), Some(217), [0; 3], None),
        ("unshare", Some(272), Some(310), [0x1000_0000, 0, 0], None),
        ("setns", Some(308), Some(346), [0; 3], None),
        ("clone3", Some(435), Some(435), [0; 3], None),
        ("reboot", Some(169), Some(88), [0; 3], None),
        ("settimeofday", Some(164), Some(79), [0; 3], None),
        ("keyctl", Some(250), Some(288), [0; 3], None),
        ("bpf", Some(321), Some(357), [0; 3], None),
        ("perf_event_open", Some(298), Some(336), [0; 3], None),
        ("userfaultfd", Some(323), Some(374), [0; 3], None),
        ("io_uring_setup", Some(425), Some(425), [0; 3], None),
    ];

    #[test]
    fn each_call_of_the_table_is_answered_as_it_says() {
        for &(name, amd64, i386, [first, second, third], refusal) in TABLE {
            let wanted = refusal.map_or(RET_ALLOW, errno);
            for (arch, number) in [(ARCH_X86_64, amd64), (ARCH_I386, i386)] {
                let Some(number) = number else { continue };
                assert_eq!(judge(arch, number, [first, second, third, 0, 0, 0]), wanted, "{name} on {arch:x}");
            }
        }
        for rule in RULES {
            let is_listed = |entry: &&Answer| (entry.1, entry.2) == (rule.amd64, rule.i386);
            assert!(TABLE.iter().any(|entry| is_listed(&entry)), "{} is in the table", rule.name);
        }
    }

    #[test]
    fn ordinary_calls_pass() {
        let (unix, netlink) = (1, u64::from(AF_NETLINK));
        assert_eq!(judge(ARCH_X86_64, 41, [unix, 1, 0, 0, 0, 0]), RET_ALLOW);
        assert_eq!(judge(ARCH_X86_64, 41, [netlink, 3, 0, 0, 0, 0]), RET_ALLOW);
        assert_eq!(judge(ARCH_I386, 359, [unix, 1, 0, 0, 0, 0]), RET_ALLOW);
        assert_eq!(judge(ARCH_X86_64, 166, [0, 2, 0, 0, 0, 0]), RET_ALLOW);
        for number in 0..500 {
            if RULES.iter().all(|rule| rule.amd64 != Some(number)) {
                assert_eq!(judge(ARCH_X86_64, number, [0; 6]), RET_ALLOW, "{number}");
            }
        }
    }

    #[test]
    fn x32_and_strangers_are_told_that_it_does_not_exist() {
        assert_eq!(judge(ARCH_X86_64, X32_BIT | 1, [0; 6]), errno(ENOSYS));
        assert_eq!(judge(0x1234, 1, [0; 6]), errno(ENOSYS));
    }
}
