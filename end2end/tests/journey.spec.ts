// The main job from the printed link to an emptied trash, on real Debian with systemd in real containers.

import type { Page } from "@playwright/test";

import { bytesOf, usedMemory } from "../cgroup.ts";
import { PASSWORD, expect, listen, look, pictures, test } from "../fixtures.ts";
import { Hand } from "../hand.ts";

interface Container {
  id: string;
  name: string;
}

test.describe.configure({ mode: "serial" });

let page: Page;
let heard: string[];

/** The graph with this heading; its first number is the newest value. */
const graph = (title: string) => page.locator("figure.chart").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
const newest = async (title: string) => (await graph(title).locator(".chart__value").first().textContent()) ?? "";
const state = (word: string) => expect(page.getByText(word, { exact: true }).first()).toBeVisible({ timeout: 60_000 });
/** Ends with systemd's own word for how the boot went. */
const SETTLED = ["sh", "-c", "until [ -S /run/systemd/private ]; do sleep 0.1; done; exec systemctl is-system-running --wait"];

test.beforeAll(async ({ browser, console, images }) => {
  const started = await console.start();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, baseURL: started.url });
  page = await context.newPage();
  heard = listen(page);
  expect(started.setupLink, "the console prints a link for the first account").toBeDefined();
  await pictures(page, "setup", started.setupLink ?? "");
  // The image server of the test's own stands for the public ones, which no test machine reaches.
  await console.berth("source", "add", "lab", "simplestreams", images.url);
  await page.goto(started.setupLink ?? "");
});

test.afterAll(async () => {
  await page.context().close();
});

test("three clicks and one field lead from the printed link to a running container", async ({ console, images }) => {
  const hand = new Hand();
  await hand.type(page.getByLabel("Password", { exact: true }), PASSWORD);
  await hand.click(page.getByRole("button", { name: "Create account" }));
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  // Nothing is here yet: the template comes while the container is made.
  images.bytesPerSecond = 20_000_000;
  await hand.click(page.getByRole("link", { name: /lab:debian/ }).first());
  await expect(page.getByRole("heading", { level: 1, name: "Create container" })).toBeVisible();
  await hand.click(page.getByRole("button", { name: "Create and start" }));
  await page.waitForURL(/\/containers\/[a-z0-9-]+$/);
  const seen = new Set<string>();
  const bar = page.getByRole("progressbar").first();
  await expect
    .poll(async () => {
      const value = await bar.getAttribute("value", { timeout: 500 }).catch(() => null);
      if (value !== null) seen.add(value);
      return seen.size;
    }, { message: "the download's progress moves", intervals: [100] })
    .toBeGreaterThan(2);
  images.bytesPerSecond = undefined;
  await state("running");
  expect([hand.clicks, hand.fields]).toEqual([3, 1]);
  const [made] = await console.berthJson<Container[]>("list");
  expect(page.url()).toContain(`/containers/${made?.name}`);
  expect(await console.berth("exec", made?.name ?? "", "--", "sh", "-c", ". /etc/os-release; echo $VERSION_ID")).toBe("13");
  expect(await console.berth("exec", made?.name ?? "", "--", ...SETTLED)).toBe("running");
  await console.berth("delete", "--force", "--purge", made?.name ?? "");
});

test("a source is added in the page and its index is read", async ({ images }) => {
  await page.goto("/sources");
  await page.getByLabel("Name", { exact: true }).fill("second");
  await page.getByLabel("Address", { exact: true }).fill(images.url);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await expect(page.getByRole("row", { name: /second/ })).toContainText("not encrypted");
});

test("a template is downloaded with moving progress, across a broken connection", async ({ images }) => {
  await page.goto("/templates?source=lab");
  const row = page.getByRole("row", { name: /debian\/12/ }).first();
  await expect(row).toBeVisible();
  const before = images.requests.length;
  images.bytesPerSecond = 10_000_000;
  images.cutAfter = 20_000_000;
  await row.getByRole("button", { name: /^Download/ }).click();
  const bar = row.getByRole("progressbar");
  await expect(bar).toBeVisible();
  const seen: number[] = [];
  await expect
    .poll(async () => {
      const value = await bar.getAttribute("value", { timeout: 500 }).catch(() => null);
      if (value !== null && Number(value) !== seen.at(-1)) seen.push(Number(value));
      return images.requests.slice(before).some((request) => request.range !== undefined);
    }, { intervals: [100], timeout: 60_000 })
    .toBe(true);
  expect(seen.length, "steps of the bar").toBeGreaterThan(2);
  images.bytesPerSecond = undefined;
  await expect(row).toContainText("here", { timeout: 120_000 });
});

test("a container is created with a name of one's own and boots", async ({ console }) => {
  await page.goto("/");
  await page.goto("/create?template=lab%3Adebian%2F12");
  await page.getByLabel("Name", { exact: true }).fill("web");
  await page.getByRole("button", { name: "Create and start" }).click();
  await page.waitForURL("**/containers/web");
  await state("running");
  expect(await console.berth("exec", "web", "--", ...SETTLED)).toBe("running");
});

test("the memory graph's last point is what the kernel counts", async ({ console }) => {
  await page.goto("/containers/web");
  const id = (await console.berthJson<Container[]>("list")).find((one) => one.name === "web")?.id ?? "";
  await expect
    .poll(async () => {
      const shown = bytesOf(await newest("Memory"));
      const counted = usedMemory(console.name, id);
      return Math.abs(shown - counted) / counted;
    })
    .toBeLessThan(0.02);
});

test("a CPU burn inside is on the graph within two seconds", async ({ console }) => {
  const value = async () => Number.parseFloat((await newest("CPU")).replace(",", "."));
  // On a busy host a burn does not get a whole CPU.
  await expect.poll(value).toBeLessThan(0.15);
  await console.berth("exec", "web", "--", "sh", "-c", "timeout 8 sh -c 'while :; do :; done' >/dev/null 2>&1 &");
  await expect.poll(value, { timeout: 2500, intervals: [100] }).toBeGreaterThan(0.3);
});

test("network and disk are drawn as they move", async ({ console }) => {
  const shown = async (title: string) => Math.max(...(await graph(title).locator(".chart__value").allTextContents()).map(bytesOf).filter(Number.isFinite), 0);
  await console.berth("exec", "web", "--", "sh", "-c", "timeout 10 ping -q -f -s 1400 $(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p') >/dev/null 2>&1 &");
  await expect.poll(() => shown("Network"), { intervals: [200] }).toBeGreaterThan(10_000);
  await console.berth("exec", "web", "--", "sh", "-c", "timeout 20 sh -c 'while :; do dd if=/dev/zero of=/root/x bs=1M count=16 oflag=direct; done' >/dev/null 2>&1 &");
  await expect.poll(() => shown("Disk activity"), { intervals: [200] }).toBeGreaterThan(1_000_000);
});

test("fifty commands in a row all tell their end", async ({ console }) => {
  for (let n = 0; n < 50; n += 1) expect(await console.berth("exec", "web", "--", "echo", String(n))).toBe(String(n));
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

test("a flood in a terminal ends at once with Ctrl+C", async () => {
  await page.locator(".xterm-helper-textarea").first().focus();
  await page.keyboard.type("yes\n");
  await expect(page.locator(".xterm-rows").first()).toContainText("y");
  await page.keyboard.press("Control+c");
  await page.keyboard.type("echo qui''et\n");
  await expect(page.locator(".xterm-rows").first()).toContainText("quiet", { timeout: 5000 });
});

test("a shell that ended meanwhile is told with its last words", async ({ console }) => {
  const rows = page.locator(".xterm-rows").first();
  await page.locator(".xterm-helper-textarea").first().focus();
  await page.keyboard.type("exec sh -c 'echo $$ >/run/shell; echo last-$((40+2)); until [ -e /run/go ]; do sleep 0.1; done; exit 7'\n");
  await expect(rows).toContainText("last-42");
  await page.goto("/containers/web");
  await console.berth("exec", "web", "--", "sh", "-c", "touch /run/go; while [ -d /proc/$(cat /run/shell) ]; do sleep 0.1; done");
  await page.goto("/containers/web/terminal");
  await expect(page.getByText("The shell ended: it exited with code 7")).toBeVisible();
  await expect(rows).toContainText("last-42");
  await page.getByRole("button", { name: "Open again" }).click();
  await expect(rows).not.toContainText("last-42");
  await expect(rows).toContainText("root@web");
});

test("the console shows the boot, and still does after a reload", async () => {
  await page.goto("/containers/web/console");
  await expect(page.locator(".xterm-rows").first()).toContainText(/login:|Debian/);
  await page.reload();
  await expect(page.locator(".xterm-rows").first()).toContainText(/login:|Debian/);
});

test("a limit changes while it runs", async ({ console }) => {
  await page.goto("/containers/web/limits");
  await expect(page.getByText("Changes hold at once.")).toHaveCount(1);
  await expect(page.getByText("at next start")).toHaveCount(0);
  await page.getByLabel("Memory", { exact: true }).fill("300M");
  await page.getByRole("button", { name: "Apply" }).click();
  await expect.poll(async () => await console.berth("exec", "web", "--", "sh", "-c", "grep MemTotal /proc/meminfo")).toContain("307200");
});

test("graphs go back an hour, a day and a month by the address", async () => {
  for (const range of ["1h", "24h", "30d"]) {
    await page.goto(`/containers/web?range=${range}`);
    // A minute of life is one point of a month: a number, but no line yet.
    await expect.poll(() => newest("Memory"), range).toMatch(/iB/);
  }
});

test("every page is looked at", async ({ browser, console }) => {
  test.setTimeout(900_000);
  const task = (await console.berthJson<{ id: string }[]>("task", "list"))[0]?.id ?? "";
  for (const [name, path] of [
    ["overview", "/"],
    ["containers", "/containers"],
    ["container", "/containers/web"],
    ["terminal", "/containers/web/terminal"],
    ["console", "/containers/web/console"],
    ["limits", "/containers/web/limits"],
    ["network", "/containers/web/network"],
    ["log", "/containers/web/log"],
    ["container-tasks", "/containers/web/tasks"],
    ["create", "/create"],
    ["templates", "/templates"],
    ["sources", "/sources"],
    ["tasks", "/tasks"],
    ["task", `/tasks/${task}`],
    ["trash", "/trash"],
    ["account", "/account"],
    ["absent", "/containers/not-there"],
  ] as const) {
    await look(browser, page, name, path);
  }
});

test("every page is looked at in French", async ({ browser }) => {
  test.setTimeout(300_000);
  for (const [name, path] of [
    ["overview", "/"],
    ["container", "/containers/web"],
    ["create", "/create"],
    ["templates", "/templates"],
    ["account", "/account"],
  ] as const) {
    await look(browser, page, `fr-${name}`, path, "fr-FR");
  }
});

test("it stops, goes to the trash, comes back and is deleted for ever", async ({ console }) => {
  await page.goto("/containers/web");
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await state("stopped");
  await page.goto("/containers/web/console");
  await expect(page.locator(".xterm-rows").first(), "what it printed stays readable").toContainText(/Stopped|Reached target/);
  await page.goto("/containers/web");
  await page.locator("summary[aria-label='Actions']").first().click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: /^Delete/ }).click();
  await page.waitForURL("**/containers");
  const undo = page.getByRole("button", { name: "Undo" });
  await expect(undo).toHaveCount(1);
  await page.goto("/templates");
  await expect(undo, "the offer goes along to a page of another bundle").toHaveCount(1);
  await undo.click();
  await expect(undo).toHaveCount(0);
  // The row that is in sight now may be the one before, and the new one is there before its task has ended.
  const names = async () => (await console.berthJson<Container[]>("list")).map((one) => one.name);
  await expect.poll(names).toContain("web");
  const underWay = async () => (await console.berthJson<{ state: string }[]>("task", "list")).filter((task) => ["queued", "running"].includes(task.state)).length;
  await expect.poll(underWay).toBe(0);
  await page.goto("/containers");
  await expect(page.getByRole("link", { name: "web" }).first()).toBeVisible();
  await expect(page.getByText("Live", { exact: true }).first()).toBeVisible();
  await expect(undo, "what is back is not offered again").toHaveCount(0);
  await console.berth("delete", "web");
  await page.goto("/trash");
  const row = page.getByRole("row", { name: /web/ });
  await expect(row).toBeVisible();
  await row.getByRole("button", { name: "Delete web for ever" }).click();
  const question = page.getByRole("dialog");
  await question.getByRole("textbox").fill("web");
  await question.getByRole("button", { name: /^Delete/ }).click();
  await expect(row).toHaveCount(0);
  expect(await console.berthJson<unknown[]>("trash", "list")).toEqual([]);
});

test("no page complained to the browser's console", () => {
  expect(heard).toEqual([]);
});
