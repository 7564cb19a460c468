import { defineConfig } from "@playwright/test";

// One worker: the tests share the host's CPU, and the journeys measure it.
export default defineConfig({
  testDir: "tests",
  outputDir: "artefacts/results",
  workers: 1,
  fullyParallel: false,
  retries: 0,
  timeout: 180_000,
  expect: { timeout: 15_000 },
  reporter: [["list"]],
  // A worker serves one project only: each file has a console of its own.
  projects: ["journey", "plain", "faults", "scale", "survive"].map((name) => ({ name, testMatch: `${name}.spec.ts` })),
  use: {
    launchOptions: {
      executablePath: process.env.BERTH_CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
    locale: "en-GB",
    timezoneId: "UTC",
    screenshot: "off",
    trace: "off",
  },
});
