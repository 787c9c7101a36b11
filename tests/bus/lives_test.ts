// run: on bun
import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { Peer } from "../support/peer.ts";
import { ALL } from "../support/share.ts";
import { skip } from "../support/skip.ts";
import { until } from "../support/until.ts";
import { fresh, onEach } from "./grounds.ts";
import type { Held } from "./lives_peer.ts";

/** A leak of each life occurs 36 times between the second and the last measurement: nine times the limit of a count. */
const LIVES = ALL ? 100 : 60;
const MB = 1024 * 1024;

onEach("a program", ({ name, it, server }) => {
  const title = `opens and shuts down ${LIVES} buses, holds no more than after the first ones, and ends by itself`;
  if (process.platform !== "linux") return skip(title, "what a process holds is read from /proc");

  it(title, async () => {
    const url = name === "redis" ? [server().url] : [];
    await using peer = Peer.start<Held>(new URL("lives_peer.ts", import.meta.url), {
      args: [String(LIVES), String(LIVES / 5), fresh(), ...url],
      permissions: ["-A", "--v8-flags=--expose-gc"],
    });
    const held: Held[] = [];
    while (held.length < 5) held.push(await peer.next(60_000));
    // the code of the library is compiled during the first lives
    const [first, last] = [held[1]!, held.at(-1)!];
    const grown = (what: keyof Held) => last[what] - first[what];
    const all = JSON.stringify(held);
    assert(grown("descriptors") <= 4, all);
    assert(grown("threads") <= 4, all);
    assert(grown("heap") <= 2 * MB, all);
    assert(grown("memory") <= 60 * MB, all);
    assertEquals(await peer.wait(), { code: 0, signal: null });
    if (name !== "redis") return;
    await until("nobody is connected", async () => (await server().clients()).length === 0);
    assertEquals(await server().keys(), []);
  });
});
