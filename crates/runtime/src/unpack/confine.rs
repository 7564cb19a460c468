//! What the unpacker gives up before it reads the first byte of an archive: capabilities that writing files does not need,
//! and every system call that starts something, talks to somebody or changes the world around it.

use libc::sock_filter;

use crate::error::{At, Result};
use crate::sys;

// linux/capability.h: owners, files of other owners, set-group-id bits, file capabilities.
const CAP_CHOWN: u64 = 1 << 0;
const CAP_DAC_OVERRIDE: u64 = 1 << 1;
const CAP_FOWNER: u64 = 1 << 3;
const CAP_FSETID: u64 = 1 << 4;
const CAP_SETFCAP: u64 = 1 << 31;

// linux/audit.h
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

// linux/seccomp.h, linux/filter.h
const X32_BIT: u32 = 0x4000_0000;
const RET_KILL: u32 = 0x8000_0000;
const RET_ALLOW: u32 = 0x7FFF_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// Refused: a decoder that an archive has taken over finds nothing to run, nobody to talk to and nothing to mount. A deny
/// list, because which calls an allocator makes changes with every libc.
const REFUSED: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_reboot,
    libc::SYS_personality,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
];

/// Gives up what unpacking does not need; there is no way back.
///
/// # Errors
/// As capset(2) and seccomp(2).
pub fn give_up() -> Result<()> {
    let step = "confine the unpacker";
    let kept = CAP_CHOWN | CAP_DAC_OVERRIDE | CAP_FOWNER | CAP_FSETID | CAP_SETFCAP;
    sys::set_capabilities(kept, kept, 0).at(step, "capset()")?;
    sys::install_filter(&program()).at(step, "seccomp()")
}

fn instruction(code: u16, value: u32, on_true: u8, on_false: u8) -> sock_filter {
    sock_filter {
        code,
        jt: on_true,
        jf: on_false,
        k: value,
    }
}

fn program() -> Vec<sock_filter> {
    let refuse = instruction(RETURN, RET_ERRNO | libc::EPERM.unsigned_abs(), 0, 0);
    let mut program = vec![
        instruction(LOAD, OFFSET_ARCH, 0, 0),
        instruction(JUMP_EQUAL, ARCH, 1, 0),
        instruction(RETURN, RET_KILL, 0, 0),
        instruction(LOAD, OFFSET_NUMBER, 0, 0),
        instruction(JUMP_AT_LEAST, X32_BIT, 0, 1),
        instruction(RETURN, RET_KILL, 0, 0),
    ];
    for number in REFUSED.iter().filter_map(|number| u32::try_from(*number).ok()) {
        program.extend([instruction(JUMP_EQUAL, number, 0, 1), refuse]);
    }
    program.push(instruction(RETURN, RET_ALLOW, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn judge(arch: u32, number: u32) -> u32 {
        let program = program();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            let jump = |is: bool| at + 1 + usize::from(if is { instruction.jt } else { instruction.jf });
            at = match instruction.code {
                LOAD if instruction.k == OFFSET_ARCH => {
                    accumulator = arch;
                    at + 1
                }
                LOAD => {
                    accumulator = number;
                    at + 1
                }
                JUMP_EQUAL => jump(accumulator == instruction.k),
                JUMP_AT_LEAST => jump(accumulator >= instruction.k),
                _ => return instruction.k,
            };
        }
    }

    #[test]
    fn nothing_is_started_or_mounted_and_files_are_written() {
        for number in REFUSED {
            assert_eq!(judge(ARCH, u32::try_from(*number).unwrap()), RET_ERRNO | libc::EPERM.unsigned_abs(), "{number}");
        }
        for number in [
            libc::SYS_openat2,
            libc::SYS_write,
            libc::SYS_linkat,
            libc::SYS_fchown,
            libc::SYS_mmap,
            libc::SYS_sendmsg,
        ] {
            assert_eq!(judge(ARCH, u32::try_from(number).unwrap()), RET_ALLOW, "{number}");
        }
    }

    #[test]
    fn other_ways_to_call_the_kernel_end_it() {
        assert_eq!(judge(0x4000_0003, 1), RET_KILL, "32-bit calls");
        assert_eq!(judge(ARCH, X32_BIT | 1), RET_KILL);
    }
}
