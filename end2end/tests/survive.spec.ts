// What a person trusts: containers outlive their console, a busy console shows them all, and pages load light.

import { readFileSync } from "node:fs";

import { PASSWORD, expect, test } from "../fixtures.ts";

interface Container {
  id: string;
  name: string;
  state: string;
  pid: number | null;
}

const NAMES = Array.from({ length: 20 }, (_, n) => `c${n}`);
/** What the first load of any page may take: modules, scripts and styles as they come over the wire. */
const BUDGET_BYTES = 300 * 1024;
/** `(module (func (export "f") unreachable))` */
const TRAP = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];

test.describe.configure({ mode: "serial" });

test("twenty containers outlive a console that is killed", async ({ console, images }) => {
  test.setTimeout(300_000);
  await console.start();
  await console.berth("source", "add", "lab", "simplestreams", images.url);
  await console.berth("template", "download", "lab:debian/12");
  for (const name of NAMES) await console.berth("create", name, "--template", "lab:debian/12", "--memory", "256M", "--start");
  const before = await console.berthJson<Container[]>("list");
  expect(before.map((one) => one.state)).toEqual(NAMES.map(() => "running"));
  await console.end("SIGKILL");
  for (const one of before) expect(readFileSync(`/proc/${one.pid}/stat`, "utf8")).toContain(`${one.pid} (`);
  await console.start();
  const after = await console.berthJson<Container[]>("list");
  expect(after.map((one) => [one.name, one.state, one.pid])).toEqual(before.map((one) => [one.name, one.state, one.pid]));
  expect(await console.berth("exec", "c7", "--", "cat", "/proc/1/comm")).toBe("systemd");
  // The parent of each container's first process is its shim.
  const shims = before.map((one) => Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${one.pid}/status`, "utf8"))?.[1]));
  const pss = shims.map((pid) => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]));
  expect(Math.max(...pss), "kB of memory that a shim takes for itself").toBeLessThanOrEqual(512);
});

test("the first load of any page is light", async ({ browser, console }) => {
  const link = (await console.berth("setup-link")).match(/http\S+/)?.[0] ?? "";
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  const origin = new URL(page.url()).origin;
  const state = await context.storageState();
  await context.close();
  const pages = ["/", "/containers", "/containers/c1", "/create", "/templates", "/sources", "/tasks", "/trash", "/account", "/containers/c1/terminal"];
  for (const path of pages) {
    const fresh = await browser.newContext({ storageState: state });
    const first = await fresh.newPage();
    let bytes = 0;
    const hosts = new Set<string>();
    const libraries: string[] = [];
    first.on("response", async (response) => {
      hosts.add(new URL(response.url()).origin);
      if (response.url().includes("xterm")) libraries.push(response.url());
      if (!/\.(wasm|m?js|css)$/.test(new URL(response.url()).pathname)) return;
      bytes += (await response.request().sizes().catch(() => ({ responseBodySize: 0 }))).responseBodySize;
    });
    await first.goto(origin + path, { waitUntil: "load" });
    await expect(first.getByText("Live", { exact: true }).first()).toBeVisible();
    if (path.endsWith("/terminal")) await expect(first.locator(".xterm-rows").first()).toBeVisible();
    expect(bytes, `${path} takes ${bytes} bytes`).toBeLessThanOrEqual(BUDGET_BYTES);
    expect([...hosts]).toEqual([origin]);
    expect(libraries.length > 0, `the terminal's libraries on ${path}`).toBe(path.endsWith("/terminal"));
    await fresh.close();
  }
});

test("a panic of the page is told, with the way on", async ({ browser, console }) => {
  const page = await browser.newPage();
  await page.goto(`${console.url}/sign-in`);
  await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await page.evaluate(async (bytes) => {
    const { instance } = await WebAssembly.instantiate(new Uint8Array(bytes));
    setTimeout(instance.exports.f as () => void);
  }, TRAP);
  await expect(page.getByRole("alert")).toContainText("Something broke in this page");
  await page.getByRole("link", { name: "Reload" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
});
