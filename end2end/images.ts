// A simplestreams server on loopback that serves the tree made from Debian packages; it can be slowed down and cut,
// so that a test sees a download move and break.

import { createReadStream, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";
import { Transform } from "node:stream";

export class ImageServer {
  /** Bytes per second of each answer; absent = as fast as it goes. */
  bytesPerSecond: number | undefined;
  /** Breaks the next answer after so many bytes. */
  cutAfter: number | undefined;
  /** What was asked for, with its Range. */
  readonly requests: { path: string; range: string | undefined }[] = [];
  private readonly server: Server;
  private port = 0;

  private constructor(private readonly root: string) {
    this.server = createServer((request, response) => this.answer(request, response));
  }

  static async start(root: string): Promise<ImageServer> {
    const images = new ImageServer(root);
    await images.open();
    return images;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Listens; after a stop at the same port again. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.port, "127.0.0.1", resolve));
    this.port = (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", this.url).pathname));
    this.requests.push({ path, range: request.headers.range });
    let size: number;
    try {
      const stat = statSync(join(this.root, path));
      if (!stat.isFile()) throw new Error("not a file");
      size = stat.size;
    } catch {
      response.writeHead(404).end();
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const headers: Record<string, string | number> = { "content-length": size - start, "accept-ranges": "bytes", etag: `"${size}"` };
    if (start > 0) headers["content-range"] = `bytes ${start}-${size - 1}/${size}`;
    response.writeHead(start > 0 ? 206 : 200, headers);
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    createReadStream(join(this.root, path), { start }).pipe(this.pace(response)).pipe(response);
  }

  /** Lets bytes through at the wanted pace, and breaks the connection where the test asked for it. */
  private pace(response: ServerResponse): Transform {
    let sent = 0;
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        sent += chunk.length;
        if (this.cutAfter !== undefined && sent > this.cutAfter) {
          this.cutAfter = undefined;
          response.destroy();
          return;
        }
        const wait = this.bytesPerSecond === undefined ? 0 : (chunk.length / this.bytesPerSecond) * 1000;
        setTimeout(() => done(null, chunk), wait);
      },
    });
  }
}
