// What a journey needs: a console of its own, an image server on loopback, and a place for pictures.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, type Page, expect, test as base } from "@playwright/test";

import { Console } from "./console.ts";
import { ImageServer } from "./images.ts";

export { expect };

const IMAGES = process.env.BERTH_TEST_IMAGES ?? "/var/cache/berth-test/images-1";
export const PASSWORD = "correct horse battery staple";

/** One systemd with its services holds seven of them; the console's overview advises so many on a host of many containers. */
const WATCHERS = "/proc/sys/fs/inotify/max_user_instances";
const ADVISED = 1024;

interface World {
  console: Console;
  images: ImageServer;
  /** For a console whose engine is the fake one, which only development builds have. */
  scaled: Console;
}

/** One console and one image server for all tests of a file. */
export const test = base.extend<object, World>({
  console: [
    async ({}, use) => {
      const found = readFileSync(WATCHERS, "utf8");
      if (Number(found) < ADVISED) writeFileSync(WATCHERS, String(ADVISED));
      try {
        const console = new Console();
        await use(console);
        await console.remove();
      } finally {
        writeFileSync(WATCHERS, found);
      }
    },
    { scope: "worker", timeout: 120_000 },
  ],
  scaled: [
    async ({}, use) => {
      const console = new Console(process.env.BERTH_DEV_BINARY);
      await use(console);
      await console.abandon();
    },
    { scope: "worker", timeout: 120_000 },
  ],
  images: [
    async ({}, use) => {
      const images = await ImageServer.start(IMAGES);
      await use(images);
      await images.stop();
    },
    { scope: "worker" },
  ],
});

/** Errors and warnings that a page writes to the browser's console: a page that hydrates badly says so there. */
export function listen(page: Page): string[] {
  const heard: string[] = [];
  page.on("console", (message) => {
    // A refused request is told here too, whether the page expected it or not.
    const isRefusal = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !isRefusal) heard.push(message.text());
  });
  page.on("pageerror", (error) => heard.push(error.message));
  return heard;
}

/** Pictures of the page at both widths in both schemes, each without an axe finding and without sideways scrolling. */
export async function look(browser: Browser, from: Page, name: string, path: string, locale = "en-GB"): Promise<void> {
  const storageState = await from.context().storageState();
  // The account's own language would win over the browser's.
  storageState.cookies = storageState.cookies.filter((cookie) => cookie.name !== "berth_language");
  for (const colorScheme of ["light", "dark"] as const) {
    const context = await browser.newContext({ storageState, colorScheme, locale, baseURL: new URL(from.url()).origin });
    const page = await context.newPage();
    const heard = listen(page);
    await pictures(page, name, path, colorScheme);
    expect.soft(heard, name).toEqual([]);
    await context.close();
  }
}

/** The same for one page as it stands, at both widths. */
export async function pictures(page: Page, name: string, path: string, scheme: "light" | "dark" = "light"): Promise<void> {
  mkdirSync("artefacts/pictures", { recursive: true });
  for (const [width, height] of [[1440, 900], [390, 844]] as const) {
    await page.setViewportSize({ width, height });
    await page.goto(path);
    await expect(page.locator("h1")).toHaveCount(1);
    await expect(page.locator("html")).not.toHaveAttribute("data-loading", /.*/);
    // Live values have come in.
    await expect(page.getByText(/^(Not known yet|Pas encore connu)$/)).toHaveCount(0);
    await page.screenshot({ path: join("artefacts/pictures", `${name}-${width}-${scheme}.png`), fullPage: true });
    const findings = await new AxeBuilder({ page }).analyze();
    const told = findings.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
    expect.soft(told, `axe on ${name} at ${width} ${scheme}`).toEqual([]);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect.soft(overflow, `${name} scrolls sideways at ${width}`).toBeLessThanOrEqual(0);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}
