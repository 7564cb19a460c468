// The main job from the printed link to an emptied trash, on a real Debian with systemd in a real container.

import { readFileSync } from "node:fs";

import type { Page } from "@playwright/test";

import { PASSWORD, expect, listen, look, test } from "../fixtures.ts";

interface Stats {
  memory: { used_bytes: number; current_bytes: number };
}

test.describe.configure({ mode: "serial" });

let page: Page;
let heard: string[];

test.beforeAll(async ({ browser, console, images }) => {
  const started = await console.start();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, baseURL: started.url });
  page = await context.newPage();
  heard = listen(page);
  expect(started.setupLink, "the console prints a link for the first account").toBeDefined();
  await page.goto(started.setupLink ?? "");
  void images;
});

test.afterAll(async () => {
  await page.context().close();
});

test("the printed link leads to an account with one typed field", async () => {
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  await expect(page.getByText("Live", { exact: true }).first()).toBeVisible();
});

test("a source is added and its index is read", async ({ images }) => {
  await page.goto("/sources");
  await page.getByLabel("Name", { exact: true }).fill("lab");
  await page.getByLabel("Address", { exact: true }).fill(images.url);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await expect(page.getByRole("row", { name: /lab/ })).toContainText("not encrypted");
});

test("a template is downloaded with moving progress", async ({ images }) => {
  await page.goto("/templates");
  const row = page.getByRole("row", { name: /debian\/12/ }).first();
  await expect(row).toBeVisible();
  images.bytesPerSecond = 30_000_000;
  await row.getByRole("button", { name: /^Download/ }).click();
  const bar = row.getByRole("progressbar");
  await expect(bar).toBeVisible();
  const seen = new Set<string>();
  await expect
    .poll(async () => {
      const value = await bar.getAttribute("value").catch(() => null);
      if (value !== null) seen.add(value);
      return seen.size;
    })
    .toBeGreaterThan(2);
  images.bytesPerSecond = undefined;
  await expect(page.getByRole("row", { name: /debian\/12/ }).first()).toContainText("here", { timeout: 120_000 });
});

test("a container is created with two clicks and runs", async () => {
  await page.goto("/");
  await page.getByRole("link", { name: /lab:debian/ }).first().click();
  await expect(page.getByRole("heading", { level: 1, name: "Create container" })).toBeVisible();
  await page.getByLabel("Name", { exact: true }).fill("web");
  await page.getByRole("button", { name: "Create and start" }).click();
  await page.waitForURL("**/containers/web");
  await expect(page.getByText("running", { exact: true }).first()).toBeVisible();
});

test("systemd reaches its normal state", async ({ console }) => {
  const script = "until [ -S /run/systemd/private ]; do sleep 0.1; done; exec systemctl is-system-running --wait";
  expect(console.berth("exec", "web", "--", "sh", "-c", script).trim()).toBe("running");
});

test("the page shows the memory that the kernel counts", async ({ console }) => {
  // Used = current without the file cache, of which shared memory is no part; the kernel's files are the judge.
  const [container] = console.berthJson<{ id: string }[]>("list");
  const folder = `/sys/fs/cgroup/memory/berth.${console.name}/${container?.id}`;
  const read = (file: string) => readFileSync(`${folder}/${file}`, "utf8");
  const kernel = () => {
    const stat = read("memory.stat");
    const line = (key: string) => Number(new RegExp(`^${key} (\\d+)`, "m").exec(stat)?.[1]);
    return Number(read("memory.usage_in_bytes")) - (line("total_cache") - line("total_shmem"));
  };
  await expect
    .poll(() => {
      const shown = console.berthJson<Stats[]>("stats", "web")[0]?.memory.used_bytes ?? 0;
      return Math.abs(shown - kernel()) / kernel();
    })
    .toBeLessThan(0.02);
});

test("a CPU burn inside is on the chart within two seconds", async ({ console }) => {
  await page.goto("/containers/web");
  const chart = page.locator("section, figure, div").filter({ has: page.getByRole("heading", { name: "CPU", exact: true }) }).last();
  const value = async () => Number(/(\d+(?:\.\d+)?)/.exec((await chart.locator(".number").first().textContent()) ?? "")?.[1] ?? 0);
  await expect.poll(value).toBeLessThan(0.3);
  console.berth("exec", "web", "--", "sh", "-c", "timeout 8 sh -c 'while :; do :; done' >/dev/null 2>&1 &");
  await expect.poll(value, { timeout: 2500, intervals: [100] }).toBeGreaterThan(0.5);
});

test("a terminal answers and survives a reload", async () => {
  await page.goto("/containers/web/terminal");
  const rows = page.locator(".xterm-rows").first();
  await expect(rows).toContainText("root@web");
  await page.locator(".xterm-helper-textarea").first().focus();
  await page.keyboard.type("echo ber''th-$((40+2))\n");
  await expect(rows).toContainText("berth-42");
  await page.reload();
  await expect(page.locator(".xterm-rows").first()).toContainText("berth-42");
  await page.locator(".xterm-helper-textarea").first().focus();
  await page.keyboard.type("echo aga''in\n");
  await expect(page.locator(".xterm-rows").first()).toContainText("again");
});

test("a limit changes while it runs", async ({ console }) => {
  await page.goto("/containers/web/limits");
  await page.getByLabel("Memory", { exact: true }).fill("300M");
  await page.getByRole("button", { name: "Apply" }).click();
  await expect.poll(() => console.berth("exec", "web", "--", "sh", "-c", "grep MemTotal /proc/meminfo")).toContain("307200");
});

test("every page is looked at", async ({ browser }) => {
  test.setTimeout(600_000);
  for (const [name, path] of [
    ["overview", "/"],
    ["containers", "/containers"],
    ["container", "/containers/web"],
    ["limits", "/containers/web/limits"],
    ["network", "/containers/web/network"],
    ["log", "/containers/web/log"],
    ["create", "/create"],
    ["templates", "/templates"],
    ["sources", "/sources"],
    ["tasks", "/tasks"],
    ["trash", "/trash"],
    ["account", "/account"],
  ] as const) {
    await look(browser, page, name, path);
  }
});

test("it stops, goes to the trash, comes back and is purged", async ({ console }) => {
  await page.goto("/containers/web");
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await expect(page.getByText("stopped", { exact: true }).first()).toBeVisible({ timeout: 60_000 });
  await page.locator("summary[aria-label='Actions']").first().click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: /^Delete/ }).click();
  await page.waitForURL("**/containers");
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(page.getByRole("link", { name: "web" }).first()).toBeVisible();
  console.berth("delete", "web");
  await page.goto("/trash");
  await expect(page.getByRole("row", { name: /web/ })).toBeVisible();
  console.berth("trash", "empty");
  await page.reload();
  await expect(page.getByRole("row", { name: /web/ })).toHaveCount(0);
  expect(console.berthJson<unknown[]>("trash", "list")).toEqual([]);
});

test("no page complained to the browser's console", () => {
  expect(heard).toEqual([]);
});
