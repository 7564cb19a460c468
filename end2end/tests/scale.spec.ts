// A thousand containers on one page: rows in sight only, no long frames, a filter that answers at once. The engine is the
// fake one: the point is the page, and no test machine carries a thousand guests.

import { PASSWORD, expect, listen, test } from "../fixtures.ts";

const COUNT = 1000;

test("a thousand containers stay smooth", async ({ browser, scaled: console }) => {
  test.setTimeout(300_000);
  const { url, setupLink } = await console.start(["--engine", "fake"]);
  const token = new URL(setupLink ?? url).hash.slice(1);
  await fetch(`${url}/api/v1/setup`, {
    method: "POST",
    headers: { "content-type": "application/json", "sec-fetch-site": "none" },
    body: JSON.stringify({ token, name: "admin", password: PASSWORD }),
  });
  const bearer = await console.berth("--quiet", "token", "create", "maker", "--role", "operator");
  const headers = { "content-type": "application/json", authorization: `Bearer ${bearer}` };
  await console.importTiny();
  const make = async (n: number) => {
    const spec = { name: `c${String(n).padStart(4, "0")}`, template: "local:tiny", start: true, tags: [n % 2 === 0 ? "even" : "odd"] };
    const answer = await fetch(`${url}/api/v1/containers`, { method: "POST", headers, body: JSON.stringify(spec) });
    expect(answer.status, await answer.text()).toBe(202);
  };
  for (let n = 0; n < COUNT; n += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => make(n + k)));
  await expect.poll(async () => (await console.berthJson<{ state: string }[]>("list")).filter((one) => one.state === "running").length, { timeout: 180_000 }).toBe(COUNT);

  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, baseURL: url });
  const page = await context.newPage();
  const heard = listen(page);
  await page.goto("/sign-in");
  await page.getByLabel("Name", { exact: true }).fill("admin");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  await page.goto("/containers");
  await expect(page.getByText("Live", { exact: true }).first()).toBeVisible();
  await expect(page.getByText(/1[\s,.\u202f]?000/).first()).toBeVisible();
  const size = await page.evaluate(() => ({ rows: document.querySelectorAll("tbody tr").length, nodes: document.querySelectorAll("*").length }));
  expect(size.rows).toBeLessThanOrEqual(60);
  expect(size.nodes).toBeLessThanOrEqual(3000);

  // Long tasks while values tick and the list scrolls from end to end.
  const worst = await page.evaluate(async () => {
    const long: number[] = [];
    const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map((entry) => entry.duration)));
    observer.observe({ entryTypes: ["longtask"] });
    const bottom = document.documentElement.scrollHeight;
    for (let step = 0; step < 200; step += 1) {
      window.scrollTo(0, (bottom * step) / 200);
      await new Promise(requestAnimationFrame);
    }
    observer.disconnect();
    return Math.max(0, ...long);
  });
  expect(worst, "longest task while scrolling, ms").toBeLessThan(200);
  await expect(page.getByRole("link", { name: "c0999" })).toBeVisible();
  await page.evaluate(() => window.scrollTo(0, 0));

  // From the key to the narrowed list, in the page's own clock.
  const filter = page.getByLabel("Filter containers");
  await filter.focus();
  // The page watches itself before the first key: nothing orders a press after a question that is still under way.
  await page.evaluate(() => {
    const answered = new Promise<number>((resolve) => {
      let pressed = 0;
      document.addEventListener("input", () => (pressed = performance.now()), { capture: true, once: true });
      const look = () => {
        const names = [...document.querySelectorAll("tbody tr a")].map((link) => link.textContent);
        if (pressed > 0 && names.includes("c0777") && !names.includes("c0001")) resolve(performance.now() - pressed);
        else requestAnimationFrame(look);
      };
      look();
    });
    Object.assign(window, { answered });
  });
  await page.keyboard.insertText("c0777");
  expect(await page.evaluate(() => (window as unknown as { answered: Promise<number> }).answered), "filter answers, ms").toBeLessThan(150);
  await expect(page).toHaveURL(/q=c0777/);
  await page.reload();
  await expect(page.getByRole("link", { name: "c0777" })).toBeVisible();
  await expect(page.getByRole("link", { name: "c0001" })).toHaveCount(0);
  expect(heard).toEqual([]);
  await context.close();
});
