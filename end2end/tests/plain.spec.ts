// Without script: signing in, reading lists, starting and stopping work as plain pages and forms.

import { PASSWORD, expect, test } from "../fixtures.ts";

test("without script one signs in, reads, starts and stops", async ({ browser, console, images }) => {
  const { url, setupLink } = await console.start();
  const token = new URL(setupLink ?? url).hash.slice(1);
  const made = await fetch(`${url}/api/v1/setup`, {
    method: "POST",
    headers: { "content-type": "application/json", "sec-fetch-site": "none" },
    body: JSON.stringify({ token, name: "admin", password: PASSWORD }),
  });
  expect(made.status, await made.text()).toBeLessThan(300);
  await console.berth("source", "add", "lab", "simplestreams", images.url);
  await console.berth("create", "web", "--template", "lab:debian/12");

  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: url });
  const page = await context.newPage();
  await page.goto("/containers");
  await expect(page).toHaveURL(/\/sign-in/);
  await page.getByLabel("Name", { exact: true }).fill("admin");
  await page.getByLabel("Password", { exact: true }).fill("not the right words");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert").filter({ hasText: /password is wrong/ }), "a wrong password is said").toBeVisible();
  await page.getByLabel("Name", { exact: true }).fill("admin");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.goto("/containers");
  await expect(page.getByRole("row", { name: /web/ })).toContainText("stopped");
  await expect(page.getByText("0 containers"), "the head counts nothing before the list is there").toHaveCount(0);
  await page.goto("/containers/web");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await expect.poll(async () => (await console.berthJson<{ state: string }[]>("list"))[0]?.state, { timeout: 30_000 }).toBe("running");
  // The first value is there within a second or two of the start; a page without script shows what it was made with.
  const memory = async () => {
    await page.goto("/containers/web");
    return await page.getByRole("meter", { name: /Memory/ }).getAttribute("aria-valuetext");
  };
  await expect.poll(memory, "the last value stands in the page").toMatch(/MiB/);
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await expect.poll(async () => (await console.berthJson<{ state: string }[]>("list"))[0]?.state, { timeout: 60_000 }).toBe("stopped");
  await context.close();
});
