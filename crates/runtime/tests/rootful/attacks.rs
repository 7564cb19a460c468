//! Escapes that root of a container tries, each by the real calls of a program inside; what the host is like stands in
//! canaries, read before and after. Where a row needs no program inside, the test lies with what it tests.
//!
//! | what is tried | by whom |
//! |---|---|
//! | R1 switches and memory of the host by /proc and /sys | `switches::the_hosts_switches_memory_and_devices_cannot_be_reached`, `switches::nothing_of_the_host_opens_for_writing_below_proc_and_sys` |
//! | R5 device nodes, ports, processes of the host | `switches::the_hosts_switches_memory_and_devices_cannot_be_reached`, `faults::only_the_containers_devices_open_in_its_groups` |
//! | R10 what the kernel counts, used up | `neighbours::what_a_container_uses_up_is_its_own`, `limits::a_fork_bomb_ends_at_the_containers_own_limit` |

mod canaries;
mod neighbours;
mod siege;
mod switches;
