/** JSR and npm on loopback: they serve this package to this runtime as it would be published, and from `node_modules` what it depends on. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { here } from "../support/peer.ts";
import { CONFIG, published, ROOT, source } from "./published.ts";
import { makeTarball, NPM_NAME } from "./tarball.ts";

interface Installed {
  readonly path: string;
  readonly manifest: { readonly name: string; readonly version: string };
}

export class Registry implements AsyncDisposable {
  /** Its address. */
  readonly url: string;
  readonly #server: Server;
  readonly #files = new Map<string, string | Uint8Array>();
  readonly #packages = new Map<string, Installed[]>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as { port: number }).port}/`;
    server.on("request", ({ url = "" }, answer) => this.#answer(decodeURIComponent(url.split("?")[0]!), answer));
  }

  /** Starts a registry that writes into `dir`. */
  static async start(dir: string): Promise<Registry> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const registry = new Registry(server);
    if (here === "deno") registry.#addSources();
    else registry.#addTarball(dir);
    registry.#addInstalled();
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  /** Serves modules as JSR does for Deno, with specifiers that `deno publish` has resolved. */
  #addSources(): void {
    const { version, exports, imports } = CONFIG;
    const base = `/@tsmq/tsmq/${version}`;
    const manifest: Record<string, { size: number; checksum: string }> = {};
    for (const path of published()) {
      const text = source(path, (specifier) => imports[specifier] ?? specifier);
      this.#files.set(`${base}/${path}`, text);
      const bytes = new TextEncoder().encode(text);
      const checksum = `sha256-${createHash("sha256").update(bytes).digest("hex")}`;
      manifest[`/${path}`] = { size: bytes.length, checksum };
    }
    this.#files.set(`${base}_meta.json`, JSON.stringify({ manifest, exports }));
    const meta = { scope: "tsmq", name: "tsmq", latest: version, versions: { [version]: {} } };
    this.#files.set("/@tsmq/tsmq/meta.json", JSON.stringify(meta));
  }

  /** Serves the package as JSR does for npm clients. */
  #addTarball(dir: string): void {
    const { file, manifest } = makeTarball(dir);
    const tarball = readFileSync(file);
    this.#files.set(`/${NPM_NAME}`, JSON.stringify(this.#packument(NPM_NAME, [manifest as Installed["manifest"]])));
    this.#files.set(`/-/${NPM_NAME}/${CONFIG.version}.tgz`, tarball);
  }

  /** Serves the dependencies of the package as npm does. */
  #addInstalled(): void {
    const store = join(ROOT, "node_modules", ".deno");
    for (const entry of readdirSync(store)) {
      const name = entry.replace(/@[^@]*$/, "").replace("+", "/");
      const path = join(store, entry, "node_modules", name);
      try {
        const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
        this.#packages.set(name, [...this.#packages.get(name) ?? [], { path, manifest }]);
      } catch {
        continue; // not a package
      }
    }
  }

  #packument(name: string, manifests: readonly Installed["manifest"][]): unknown {
    const versions = manifests.map((manifest) => [manifest.version, {
      ...manifest,
      dist: { tarball: `${this.url}-/${name}/${manifest.version}.tgz` },
    }]);
    return { name, "dist-tags": { latest: manifests.at(-1)!.version }, versions: Object.fromEntries(versions) };
  }

  #answer(path: string, answer: ServerResponse): void {
    const body = this.#files.get(path) ?? this.#installed(path);
    if (body === undefined) return void answer.writeHead(404).end();
    const type = path.endsWith(".ts")
      ? "application/typescript"
      : path.endsWith(".tgz")
      ? "application/gzip"
      : "application/json";
    answer.writeHead(200, { "content-type": type }).end(body);
  }

  #installed(path: string): string | Uint8Array | undefined {
    const [, tarball, version] = /^\/-\/(.+)\/([^/]+)\.tgz$/.exec(path) ?? [];
    const found = this.#packages.get(tarball ?? path.slice(1));
    if (!found) return undefined;
    if (tarball === undefined) {
      return JSON.stringify(this.#packument(path.slice(1), found.map(({ manifest }) => manifest)));
    }
    const one = found.find(({ manifest }) => manifest.version === version);
    const options = { cwd: one?.path, maxBuffer: 2 ** 28 };
    return one && execFileSync("tar", ["cz", "--exclude=./node_modules", "--transform=s,^\\.,package,", "."], options);
  }
}
