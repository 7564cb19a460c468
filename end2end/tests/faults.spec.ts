// What a page says when the network, the disk or the console itself is missing, and that all goes on when it is back.

import type { Page } from "@playwright/test";

import { PASSWORD, expect, listen, pictures, test } from "../fixtures.ts";

interface Template {
  ref: string;
  downloaded: boolean;
}

test.describe.configure({ mode: "serial" });

let page: Page;
let heard: string[];

const row = (name: RegExp) => page.getByRole("row", { name }).first();
const attention = () => page.locator("section.card").filter({ has: page.getByRole("heading", { name: "Needs attention" }) });

test.beforeAll(async ({ browser, console, images }) => {
  // Room for the store, but not for a Debian.
  console.ownDisk(1024);
  console.leaveFree(64);
  const started = await console.start();
  await console.berth("source", "add", "lab", "simplestreams", images.url);
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, baseURL: started.url });
  page = await context.newPage();
  heard = listen(page);
  await page.goto(started.setupLink ?? "");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
});

test.afterAll(async () => {
  await page.context().close();
});

test("a download that finds no room says so, leaves nothing, and goes through once there is room", async ({ console }) => {
  await page.goto("/templates?source=lab");
  await row(/debian\/12/).getByRole("button", { name: /^Download/ }).click();
  await expect(row(/debian\/12/)).toContainText(/MiB free under .*remove templates or empty the trash/, { timeout: 60_000 });
  const here = async () => (await console.berthJson<Template[]>("template", "list")).filter((one) => one.downloaded);
  expect(await here()).toEqual([]);
  await pictures(page, "faults-templates", "/templates?source=lab");
  console.leaveFree(1024);
  await row(/debian\/12/).getByRole("button", { name: /^Download/ }).click();
  await expect(row(/debian\/12/)).toContainText("here", { timeout: 120_000 });
});

test("an image server that is gone is told where one looks, and its return heals it", async ({ images }) => {
  await images.stop();
  await page.goto("/sources");
  await row(/lab/).getByRole("button", { name: /Refresh/ }).click();
  await expect(row(/lab/)).toContainText(/refused/i);
  await pictures(page, "faults-sources", "/sources");
  await page.goto("/");
  await expect(attention()).toContainText("lab");
  // What the index offered is still offered, and a download says why it fails.
  await page.goto("/templates?source=lab");
  await expect(page.getByText(/lab.*refused/i).first()).toBeVisible();
  await row(/debian\/13/).getByRole("button", { name: /^Download/ }).click();
  await expect(row(/debian\/13/)).toContainText(/refused/i, { timeout: 60_000 });
  await images.open();
  await page.goto("/sources");
  await row(/lab/).getByRole("button", { name: /Refresh/ }).click();
  await expect(row(/lab/)).not.toContainText(/refused/i);
  await page.goto("/");
  await expect(attention()).not.toContainText("lab");
  await page.goto("/templates?source=lab");
  await expect(row(/debian\/13/), "the download goes on by itself").toContainText("here", { timeout: 60_000 });
});

test("on a full disk a container says what is missing, and starts once there is room", async ({ console }) => {
  console.leaveFree(0);
  await page.goto("/");
  await expect(attention()).toContainText(/disk .* full/i);
  await page.goto("/create?template=lab%3Adebian%2F12");
  await page.getByLabel("Name", { exact: true }).fill("web");
  await page.getByRole("button", { name: "Create and start" }).click();
  await expect(page.getByRole("alert").filter({ hasText: /space/i }).first()).toBeVisible({ timeout: 60_000 });
  console.leaveFree(1024);
  for (const left of await console.berthJson<{ name: string }[]>("list")) await console.berth("delete", "--force", "--purge", left.name);
  await page.goto("/create?template=lab%3Adebian%2F12");
  await page.getByLabel("Name", { exact: true }).fill("web");
  await page.getByRole("button", { name: "Create and start" }).click();
  await page.waitForURL("**/containers/web");
  await expect(page.getByText("running", { exact: true }).first()).toBeVisible({ timeout: 60_000 });
});

test("a console that is gone is told, and the page goes on when it is back", async ({ console }) => {
  await page.goto("/containers/web");
  await expect(page.getByText("Live", { exact: true }).first()).toBeVisible();
  await console.end("SIGKILL");
  await expect(page.getByText(/connection to the console is lost/).first()).toBeVisible();
  await page.locator("summary[aria-label='Actions']").first().click();
  await page.getByRole("button", { name: "Freeze", exact: true }).click();
  await expect(page.getByText(/The console did not answer/).first()).toBeVisible();
  await console.start();
  await expect(page.getByText("Live", { exact: true }).first()).toBeVisible({ timeout: 60_000 });
  await expect(page.getByText(/connection to the console is lost/)).toHaveCount(0);
  await page.locator("summary[aria-label='Actions']").first().click();
  await page.getByRole("button", { name: "Freeze", exact: true }).click();
  await expect(page.getByText("frozen", { exact: true }).first()).toBeVisible();
});

test("no page complained to the browser's console", () => {
  // That a server cannot be reached is said by the browser for each request; nothing else may be.
  expect(heard.filter((line) => !/ERR_CONNECTION_REFUSED|Failed to fetch|network error/i.test(line))).toEqual([]);
});
