/** The system calls for files, with paths of every length. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { linkSync, rmSync, writeFileSync } from "node:fs";
import { ProviderError } from "../../src/errors.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { LINK_BYTES } from "../../src/providers/ipc/files.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { fresh, openNamespace } from "./ground.ts";

describe("a path", () => {
  it("may have as many bytes as the kernel allows, and a longer one is refused", async () => {
    const posix = await loadPosix();
    const path = (bytes: number) => "/".repeat(bytes - 7) + "dev/shm";
    const longest = posix.stat(path(LINK_BYTES));
    assertEquals(longest, posix.stat("/dev/shm"));
    for (const bytes of [LINK_BYTES + 1, 2 * LINK_BYTES]) {
      assertEquals(posix.stat(path(bytes)), -Errno.ENAMETOOLONG);
      assertEquals(posix.rename(path(bytes), path(bytes)), -Errno.ENAMETOOLONG);
    }
  });

  it("leaves no bytes to the next one", async () => {
    const posix = await loadPosix();
    const [link, other] = ["é", "ü"].map((letter) => `/dev/shm/${letter}${fresh()}`);
    const target = "ö".repeat(2_047);
    assertEquals(posix.symlink(target, link!), 0);
    assertEquals(posix.rename(link!, other!), 0);
    assertEquals([posix.readLink(link!), posix.readLink(other!)], [-Errno.ENOENT, target]);
    assertEquals([posix.unlink(other!), posix.symlink("x", other!)], [0, 0]);
    assertEquals([posix.readLink(other!), posix.unlink(other!)], ["x", 0]);
  });
});

describe("readText()", () => {
  it("returns the beginning of a file; undefined if it cannot be opened or read, and then closes it too", async () => {
    const posix = await loadPosix();
    const path = `/dev/shm/${fresh()}`;
    writeFileSync(path, "\ufeffé1");
    assertEquals([posix.readText(path, 64), posix.readText(path, 5)], ["\ufeffé1", "\ufeffé"]);
    rmSync(path);
    const open = () => (posix.list("/proc/self/fd") as string[]).length;
    const before = open();
    assertEquals([posix.readText(path, 64), posix.readText("/dev/shm", 64)], [undefined, undefined]);
    assertEquals(open(), before);
  });
});

describe("the file of a large event", () => {
  it("is removed before it is read, and is not read if it has another name or cannot be removed", async () => {
    const namespace = await openNamespace(fresh());
    const { bodyFiles, directories, posix } = namespace;
    const write = () => bodyFiles.write("loops", "text", true);
    const path = (name: string) => directories.path(`loops/${name}`);
    const refused = (name: string) => assertThrows(() => bodyFiles.take("loops", name), ProviderError);
    assertEquals(bodyFiles.take("loops", write()), "text");

    const [linked, stuck] = [write(), write()];
    linkSync(path(linked), path(crypto.randomUUID()));
    assertMatch(refused(linked).message, /several names/);

    let reads = 0;
    Object.assign(posix, { unlink: () => -Errno.EACCES, read: () => reads++ });
    try {
      refused(stuck);
    } finally {
      for (const call of ["unlink", "read"]) Reflect.deleteProperty(posix, call);
    }
    assertEquals(reads, 0);
    rmSync(directories.root, { recursive: true });
    namespace.close();
  });
});
