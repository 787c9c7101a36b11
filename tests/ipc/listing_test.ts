/** The names in a directory that is read often. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Listing, Listings, TICK } from "../../src/providers/ipc/listing.ts";

describe("the names in a directory", () => {
  it("are chosen and sorted once until the directory changes", () => {
    const stat = { inode: 1, modified: 0, size: 40 } as never;
    let arranged = 0;
    const listing = new Listing(
      { path: (path) => path, stat: () => stat, read: () => ["b", "x", "a"] },
      "queues",
      (names) => {
        arranged++;
        return names.filter((name) => name !== "x").sort();
      },
    );
    const names = listing.names();
    assertEquals(names, ["a", "b"]);
    assertEquals([listing.names() === names, arranged], [true, 1]);
  });

  it("are read once if the directory's time lies in the future", () => {
    const stat = { inode: 1, modified: Date.now() + 1e9, size: 40 } as never;
    let reads = 0;
    const tree = { path: (path: string) => path, stat: () => stat, read: () => [String(reads++)] };
    const listing = new Listing(tree, "queues");
    for (let i = 0; i < 10; i++) listing.names();
    assertEquals(reads, 1);
  });

  it("are read again after a change that set the same time, however long this thread pauses", () => {
    const modified = Date.now();
    let [names, reads] = [["0"], 0];
    const pausing = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * TICK);
    const tree = {
      path: (path: string) => path,
      stat: () => ({ inode: 1, modified, size: 40, read: 0, regular: false }) as never,
      read: () => {
        reads++;
        const read = names;
        names = ["0", "1"];
        pausing();
        return read;
      },
    };
    const listing = new Listing(tree, "queues");
    assertEquals(listing.names(), ["0"]);
    assertEquals(listing.names(), ["0", "1"]);
    assertEquals(listing.names(), ["0", "1"]);
    assertEquals(reads, 2, "without a change, they are not read again");
  });
});

describe("the names in many directories", () => {
  it("are read once, those of a missing one each time, and have versions", () => {
    let [names, reads] = [["a"] as string[] | number, 0];
    const listings = new Listings({
      path: (path) => path,
      stat: () => typeof names === "number" ? names : { inode: 1, modified: 0, size: names.length } as never,
      read: () => {
        reads++;
        return names;
      },
    });
    const first = listings.read("queues");
    assertEquals([first.names, listings.read("queues") === first, reads], [["a"], true, 1]);
    names = ["a", "b"];
    const second = listings.read("queues");
    assertEquals([second.names, second.version === first.version], [["a", "b"], false]);
    names = -2; // ENOENT
    const missing = listings.read("queues");
    assertEquals([missing.names, listings.read("queues").version === missing.version, reads], [[], true, 2]);
    names = ["a", "b"];
    assertEquals([listings.names("queues"), reads], [["a", "b"], 3]);
  });
});
