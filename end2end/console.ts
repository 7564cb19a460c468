// A real console with state, run folder, bridge and port of its own, beside whatever else runs on this host.

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const execute = promisify(execFile);

const BINARY = process.env.BERTH_BINARY ?? join(process.cwd(), "../target/release/berth");

export interface Started {
  url: string;
  setupLink: string | undefined;
}

let instances = 0;

export class Console {
  readonly folder = mkdtempSync(join(process.env.BERTH_TEST_FOLDER ?? tmpdir(), "berth-e2e-"));
  readonly name = `e2e${process.pid % 1000}${instances++}`;
  readonly log: string[] = [];
  private child: ChildProcess | undefined;
  private port = 0;
  private hasOwnDisk = false;

  constructor(private readonly binary = BINARY) {}

  get runDir(): string {
    return join(this.folder, "run");
  }

  get stateDir(): string {
    return join(this.folder, "state");
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  /** Gives the state folder a disk of its own of so many MiB, before the first start. */
  ownDisk(mebibytes: number): void {
    const image = join(this.folder, "disk");
    mkdirSync(this.stateDir, { recursive: true });
    execFileSync("truncate", [`--size=${mebibytes}M`, image]);
    execFileSync("mkfs.ext4", ["-q", image]);
    execFileSync("mount", ["-o", "loop", image, this.stateDir]);
    this.hasOwnDisk = true;
  }

  /** Takes all of that disk that others than root may have, but so many MiB; what was taken before is given back first. */
  leaveFree(mebibytes: number): void {
    const filler = join(this.stateDir, "filler");
    rmSync(filler, { force: true });
    const { bavail, bsize } = statfsSync(this.stateDir);
    const bytes = bavail * bsize - mebibytes * 1024 * 1024;
    // The part of the disk that only root may take finds room for the last blocks.
    if (bytes > 0) execFileSync("fallocate", ["--length", String(bytes), filler]);
  }

  /** Starts `berth serve` and waits until it listens; again after a stop or kill, at the same port. */
  async start(more: string[] = []): Promise<Started> {
    mkdirSync("artefacts", { recursive: true });
    mkdirSync(this.runDir, { recursive: true });
    mkdirSync(this.stateDir, { recursive: true });
    const child = spawn(
      this.binary,
      ["serve", "--state-dir", this.stateDir, "--run-dir", this.runDir, "--instance", this.name, "--bridge", `br${this.name}`, "--listen", `127.0.0.1:${this.port}`, ...more],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.child = child;
    child.stderr.on("data", (chunk: Buffer) => {
      this.log.push(chunk.toString());
      appendFileSync(`artefacts/${this.name}.log`, chunk);
    });
    return await new Promise<Started>((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        this.log.push(`${line}\n`);
        const url = /listening on (\S+)/.exec(line)?.[1]?.replace(/\/$/, "");
        if (url !== undefined) {
          this.port = Number(new URL(url).port);
          resolve({ url, setupLink: this.setupLink(url) });
        }
      });
      child.on("exit", (code) => reject(new Error(`berth serve ended with ${code}: ${this.log.join("")}`)));
    });
  }

  /** The link that `berth serve` prints, from the token's file. */
  private setupLink(url: string): string | undefined {
    try {
      return `${url}/setup#${readFileSync(join(this.runDir, "setup-token"), "utf8").trim()}`;
    } catch {
      return undefined;
    }
  }

  /** Ends the console by a signal and waits for its end; containers live on. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
    this.child = undefined;
  }

  /** Runs the command line against this console; the image server of this very process goes on answering meanwhile. Gives
   * what it prints, without the last line's end. */
  async berth(...args: string[]): Promise<string> {
    const running = execute(this.binary, ["--run-dir", this.runDir, ...args], { encoding: "utf8" });
    running.child.stdin?.end();
    return (await running).stdout.trim();
  }

  async berthJson<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.berth("--output", "json", ...args)) as T;
  }

  /** Brings in a template of a few bytes, enough for an engine that runs nothing. */
  async importTiny(): Promise<void> {
    const root = join(this.folder, "tiny");
    for (const folder of ["bin", "dev", "etc", "home", "lib", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var"]) mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, "sbin/init"), "");
    const archive = join(this.folder, "tiny.tar");
    execFileSync("tar", ["--create", "--file", archive, "--directory", root, "."]);
    await this.berth("template", "import", archive, "--name", "tiny");
  }

  /** Ends a console whose containers are no real ones. */
  async abandon(): Promise<void> {
    await this.end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Deletes every container for good, ends the console and removes its folder. */
  async remove(): Promise<void> {
    if (this.port !== 0) {
      // A test may have failed while it was down.
      if (this.child === undefined) await this.start();
      for (const container of await this.berthJson<{ name: string }[]>("list")) {
        await this.berth("delete", "--force", "--purge", container.name);
      }
      await this.berth("trash", "empty");
      await this.end();
    }
    if (this.hasOwnDisk) execFileSync("umount", [this.stateDir]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
