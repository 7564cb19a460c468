//! Which device nodes work inside: a program on the unified group, or the list of version 1 where there is none. Defence in
//! depth: in a user namespace nobody can make a node, and nothing else than these is bound into a container.

use std::os::fd::AsFd;

use super::file;
use super::group::Group;
use crate::error::{Error, Result};
use crate::sys;

/// Character devices by major and minor number; without a minor, all of the major.
const ALLOWED: [(u32, Option<u32>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pts
];

/// Lets a group open the listed devices only. Making nodes is left to the kernel's own rules.
///
/// # Errors
/// This host has neither of the two ways, or refuses.
pub fn confine(group: &Group) -> Result<()> {
    let step = "confine the container to its devices";
    let attached = match &group.unified {
        Some(unified) => sys::attach_device_program(unified.as_fd(), &program()),
        None => Err(std::io::Error::from_raw_os_error(libc::ENOSYS)),
    };
    let Err(error) = attached else { return Ok(()) };
    let Some(devices) = group.v1("devices") else {
        return Err(Error::unsupported(step, format!("bpf(BPF_PROG_ATTACH) = {error}")).hint("boot a kernel with CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL"));
    };
    let write = |name: &str, rule: &str| file::write(devices, name, rule).map_err(|error| Error::io(step, &format!("write({name:?}, {rule:?})"), error));
    write("devices.deny", "a")?;
    for rule in rules() {
        write("devices.allow", &rule)?;
    }
    Ok(())
}

fn rules() -> Vec<String> {
    let open = ALLOWED.iter().map(|(major, minor)| {
        let minor = minor.map_or_else(|| "*".to_owned(), |minor| minor.to_string());
        format!("c {major}:{minor} rw")
    });
    ["b *:* m", "c *:* m"].into_iter().map(str::to_owned).chain(open).collect()
}

// linux/bpf.h: registers, and what the program is asked: access in the upper and kind in the lower half of a word, major, minor.
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const COPY: u8 = 0xBF;
const SET: u8 = 0xB7;
const JUMP_UNLESS: u8 = 0x55;
const EXIT: u8 = 0x95;
const CHARACTER: i32 = 2;
const MAKE_NODE: i32 = 1;

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = value.to_le_bytes();
    u64::from_le_bytes([code, to | from << 4, low, high, a, b, c, d])
}

/// Register 0 is the answer, 1 the question, 2 the access, 3 the kind, 4 the major and 5 the minor number.
fn program() -> Vec<u64> {
    let allow = [instruction(SET, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)];
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(COPY, 3, 2, 0, 0),
        instruction(AND, 3, 0, 0, 0xFFFF),
        instruction(SHIFT_RIGHT, 2, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
        instruction(JUMP_UNLESS, 2, 0, 2, MAKE_NODE),
    ];
    program.extend(allow);
    program.extend([instruction(SET, 0, 0, 0, 0), instruction(JUMP_UNLESS, 3, 0, 0, CHARACTER)]);
    let unless_character = program.len() - 1;
    for (major, minor) in ALLOWED {
        let number = |number: u32| i32::try_from(number).unwrap_or(-1);
        match minor {
            Some(minor) => program.extend([
                instruction(JUMP_UNLESS, 4, 0, 3, number(major)),
                instruction(JUMP_UNLESS, 5, 0, 2, number(minor)),
            ]),
            None => program.push(instruction(JUMP_UNLESS, 4, 0, 2, number(major))),
        }
        program.extend(allow);
    }
    let over = i16::try_from(program.len() - unless_character - 1).unwrap_or(i16::MAX);
    program[unless_character] = instruction(JUMP_UNLESS, 3, 0, over, CHARACTER);
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn allows(access: u64, kind: u64, major: u64, minor: u64) -> bool {
        let question = [access << 16 | kind, major, minor];
        let (program, mut registers, mut at) = (program(), [0_u64; 6], 0);
        loop {
            let [code, pair, low, high, a, b, c, d] = program[at].to_le_bytes();
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = usize::try_from(i16::from_le_bytes([low, high])).unwrap();
            let value = u64::try_from(i32::from_le_bytes([a, b, c, d])).unwrap();
            at += 1;
            match code {
                LOAD_WORD => registers[to] = question[offset / 4],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                COPY => registers[to] = registers[from],
                SET => registers[to] = value,
                JUMP_UNLESS if registers[to] != value => at += offset,
                JUMP_UNLESS => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:x}"),
            }
        }
    }

    #[test]
    fn only_the_listed_devices_open() {
        let (read, write, block, character) = (2, 4, 1, 2);
        for (major, minor) in ALLOWED {
            assert!(allows(read | write, character, major.into(), minor.unwrap_or(77).into()), "{major}:{minor:?}");
        }
        for (kind, major, minor) in [
            (character, 1, 1),
            (character, 1, 11),
            (character, 10, 229),
            (block, 1, 3),
            (block, 8, 0),
            (character, 4, 1),
        ] {
            assert!(!allows(read, kind, major, minor), "{kind} {major}:{minor}");
        }
        assert!(allows(1, block, 8, 0) && !allows(1 | read, block, 8, 0));
    }
}
