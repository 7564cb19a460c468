// What the kernel itself says about a container's memory, whatever the layout of the host's cgroups.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Used memory by the console's own definition: current, without the file cache (of which shared memory is no part) and
 * without reclaimable slab, which version 1 does not count. */
export function usedMemory(instance: string, id: string): number {
  const below = `berth.${instance}/${id}`;
  const v1 = join("/sys/fs/cgroup/memory", below);
  const isV1 = existsSync(v1);
  const folder = isV1 ? v1 : join("/sys/fs/cgroup", below);
  const stat = readFileSync(join(folder, "memory.stat"), "utf8");
  const line = (key: string) => Number(new RegExp(`^${key} (\\d+)`, "m").exec(stat)?.[1] ?? 0);
  const current = Number(readFileSync(join(folder, isV1 ? "memory.usage_in_bytes" : "memory.current"), "utf8"));
  const [file, shared] = isV1 ? ["total_cache", "total_shmem"] : ["file", "shmem"];
  return current - (line(file) - line(shared)) - (isV1 ? 0 : line("slab_reclaimable"));
}

const UNITS: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** Bytes that a page writes as "87.3 MiB". */
export function bytesOf(text: string): number {
  const found = /([\d.]+)\s*([KMG]?i?B)/.exec(text.replaceAll(",", ""));
  return found === null ? Number.NaN : Number(found[1]) * (UNITS[found[2] ?? ""] ?? Number.NaN);
}
