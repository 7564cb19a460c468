//! Escapes that root of a container tries, each by the real calls of a program inside; what the host is like stands in
//! canaries, read before and after. Where an attempt needs no such program, the test lies with what it tests.
//!
//! | what is tried | by which test |
//! |---|---|
//! | R1 switches and memory of the host by /proc and /sys | `switches::the_hosts_switches_memory_and_devices_cannot_be_reached`, `switches::nothing_of_the_host_opens_for_writing_below_proc_and_sys` |
//! | R2 images whose folders and files are links, also swapped during a start | `images::an_image_of_links_fails_to_start_or_stays_inside`, `images::a_folder_that_becomes_a_link_during_the_start_stays_inside`, `a_folder_of_the_image_that_is_a_link_is_refused` |
//! | R3 programs of the host overwritten by /proc/PID/exe | `images::programs_of_the_host_are_never_written_by_way_of_proc`, `commands::a_guest_that_watches_never_sees_a_program_of_the_host` |
//! | R4 descriptors and working folders of the host | `commands::no_descriptor_of_the_host_goes_inside`, `commands::a_folder_that_is_not_inside_is_refused` |
//! | R5 device nodes, ports, processes of the host | `switches::the_hosts_switches_memory_and_devices_cannot_be_reached`, `boundary::the_hosts_devices_and_switches_are_out_of_reach`, `faults::only_the_containers_devices_open_in_its_groups` |
//! | R6 mounts, masks, roots, namespaces | `mounts::no_mount_root_or_namespace_leads_to_the_host` |
//! | R7 control groups of either version | `mounts::groups_and_limits_hold_against_the_containers_root`, `commands::a_command_is_a_member_of_every_group_of_the_container` |
//! | R8 the same in a nested user namespace; calls of the kernel | every table of `switches` and `mounts` is tried in both; `mounts::calls_that_are_the_hosts_are_refused_also_to_nested_root`, `mounts::a_reboot_in_a_nested_namespace_ends_nothing_else`, `shims::smoke_a_reboot_inside_needs_no_engine` |
//! | R9 sockets of the host; false senders and routers | `neighbours::sockets_and_keys_of_the_host_are_not_seen`; in `network.rs` `whoever_speaks_for_others_is_not_heard`, `no_guest_is_a_router_for_its_neighbours`, `the_console_is_out_of_reach_and_published_ports_are_not` |
//! | R10 what all share, used up | `neighbours::what_a_container_uses_up_is_its_own`, `neighbours::terminals_of_one_container_end_before_those_of_all`, `limits::a_fork_bomb_ends_at_the_containers_own_limit`, `a_greedy_process_is_killed_and_counted` |
//! | R11 whose terminals the console and commands have | `neighbours::terminals_and_rights_are_the_containers_own` |
//! | R12 capabilities of init and of commands | `neighbours::terminals_and_rights_are_the_containers_own`, `smoke_init_has_few_capabilities_a_filter_and_its_own_ids` |
//! | R13 users by number and name | `commands::folder_environment_user_and_groups_are_the_asked_ones` |
//! | R14 targets that appear on the host | `images::an_image_of_links_fails_to_start_or_stays_inside`, `commands::a_folder_that_is_not_inside_is_refused` |
//! | R15 keyrings, sockets that are not namespaced, the kernel's log | `neighbours::sockets_and_keys_of_the_host_are_not_seen`, `boundary::each_refused_call_answers_its_errno_and_the_needed_ones_work` |
//! | R16 refused calls on each architecture | `boundary::each_refused_call_answers_its_errno_and_the_needed_ones_work`, `boundary::calls_of_32_bit_programs_are_refused_alike`, and the table in `init/seccomp.rs` |
//! | R17 volumes that two containers share | there are no volumes yet |
//! | R18 users of the host | `images::a_user_of_the_host_reaches_neither_storage_nor_setuid_files` |
//!
//! Not prevented: a mount that names a file system makes the kernel load that file system's module, in a container as for any
//! user of the host who may make a user namespace.

mod canaries;
mod images;
mod mounts;
mod neighbours;
mod siege;
mod switches;
